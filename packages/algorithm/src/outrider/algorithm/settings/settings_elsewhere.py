"""Settings that configurations of RLlib have, and how the same is asked for here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NAMES = {
    "training(train_batch_size_per_learner=...)": "train_batch_size",
    "training(minibatch_size=...)": "sgd_minibatch_size",
    "training(num_epochs=...)": "num_sgd_iter",
    "training(lambda_=...)": "lambda",
    "training(lr=...)": "lr_schedule",
    "training(entropy_coeff=...)": "entropy_coeff_schedule",
    "rl_module(normalize_observations=True)": "observation_filter",
    "env_runners(num_env_runners=...)": "num_rollout_workers num_workers",
    "env_runners(num_envs_per_env_runner=...)": "num_envs_per_worker",
    "env_runners(num_cpus_per_env_runner=...)": "num_cpus_per_worker",
    "env_runners(num_gpus_per_env_runner=...)": "num_gpus_per_worker",
    "env_runners(explore=...)": "exploration_config exploration",
    "env_runners(max_env_runner_restarts=...)": (
        "restart_failed_env_runners recreate_failed_workers max_num_env_runner_restarts "
        "ignore_env_runner_failures"
    ),
    "env_runners(max_env_restarts=...)": "restart_failed_sub_environments",
    "env_runners(max_policies_per_env_runner=...)": "policy_map_capacity policy_states_are_swappable",
    "env_runners(env_runner_runtime_env=...)": "python_environment",
    "env_runners(gym_env_vectorize_mode='async')": "remote_worker_envs",
    "env_runners()": "rollouts",
    "learners(num_gpus_per_learner=...)": "num_gpus num_gpus_per_learner_worker",
    "learners(num_learners=...)": "num_learner_workers",
    "build()": "build_algo",
}
"""What it is called elsewhere, by what it is here."""

SENTENCES = {
    "PolicySpec(training={...}) gives a policy settings of its own": "algorithm_config_overrides_per_module",
    "PolicySpec(rl_module={...}) gives a policy a module of its own, rl_module(network=...) is yours": (
        "rl_module_spec rl_module_specs"
    ),
    "give its settings by name, as in rl_module(fcnet_hiddens=(64, 64)), or rl_module(network=...)": (
        "model model_config model_config_dict custom_model"
    ),
    "batches count steps of the environment; leave it out": "count_steps_by",
    "multi_agent(critic='central') lets values see more than policies do": "observation_fn",
    "leave it out: values after the last row of a fragment are estimated": "batch_mode",
    "there are no connectors; environment(wrappers=...) changes what is observed, done and rewarded": (
        "env_to_module_connector module_to_env_connector learner_connector "
        "add_default_connectors_to_env_to_module_pipeline add_default_connectors_to_module_to_env_pipeline "
        "add_default_connectors_to_learner_pipeline"
    ),
    "actions of a Box are clipped at its bounds, or rl_module(box_distribution='squashed_gaussian')": (
        "clip_actions normalize_actions"
    ),
    "rl_module(normalize_rewards=True) scales them, environment(wrappers=...) clips": "clip_rewards",
    "leave it out: an entry 'action_mask' of a Dict observation masks actions": "action_mask_key",
    "it is always so; leave it out": "use_gae use_critic shuffle_batch_per_epoch",
    "grad_clip is of the global norm; leave it out": "grad_clip_by",
    "environments are always tried once before anything starts; leave it out": "disable_env_checking",
    "evaluations are played in this process, in evaluation(evaluation_num_envs=...) copies at a time": (
        "evaluation_num_env_runners evaluation_num_workers evaluation_parallel_to_training"
    ),
    "algorithm.evaluate(explore=True) draws actions, and all else is as in training": "evaluation_config",
    "evaluation_duration counts episodes; leave it out": "evaluation_duration_unit",
    "what goes wrong is told by Python's logging, as 'outrider'": "log_level logger_config log_sys_usage",
    "networks are of torch; leave it out": "framework",
    "leave it out: there is one": "api_stack experimental",
    "TrainingRun(algorithm, directory, callbacks=[...]) calls yours": "callbacks callbacks_class",
    "what fails is made anew: env_runners(max_env_runner_restarts=...), learners(max_learner_restarts=...)": (
        "fault_tolerance"
    ),
    "nothing is learned from records": "offline_data",
    "train() returns the metrics of an iteration; leave it out": "reporting",
    "build() checks all settings": "validate",
    "config.settings has them all": "to_dict",
    "name the section, as in training(lr=...)": "update_from_dict",
    "copy.deepcopy makes a copy": "copy",
}
"""What is no setting here, by what to do instead."""


def said_elsewhere(name: str, sections: Mapping[str, Collection[str]]) -> str | None:
    """Return the rest of a sentence that says what is asked for here instead of `name`, if that is known.

    `sections` are those of a configuration with their settings; another one is not recommended.

    >>> said_elsewhere("num_sgd_iter", {"training": ["num_epochs"]})
    'it is training(num_epochs=...) here'
    >>> said_elsewhere("seed", {"debugging": ["seed"]})
    'it is debugging(seed=...) here'
    """
    for section, settings in sections.items():
        if name in settings:
            return f"it is {section}({name}=...) here"
    for ours, theirs in NAMES.items():
        if name in theirs.split():
            section, _, rest = ours.partition("(")
            setting = rest.partition("=")[0]
            is_here = setting == ")" or setting in sections.get(section, ())
            return f"it is {ours} here" if is_here else None
    return next((sentence for sentence, theirs in SENTENCES.items() if name in theirs.split()), None)
