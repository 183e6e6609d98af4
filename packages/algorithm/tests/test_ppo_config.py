from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import gymnasium as gym
import pytest
from gymnasium.envs.registration import VectorizeMode

from outrider.algorithm import PPOConfig
from outrider.algorithm.algorithms import config_from_json
from outrider.algorithm.assembly import num_vector_steps
from outrider.algorithm.field_docs import field_docs
from outrider.algorithm.flags import Parser, add_flags
from outrider.algorithm.resources import check_resources
from outrider.algorithm.setting_value import field_types, to_json
from outrider.algorithm.train_command import flag_groups


def test_the_snippets_of_the_scaling_guide_parse() -> None:
    config = (
        PPOConfig()
        # Use 4 EnvRunner actors (default is 2).
        .env_runners(num_env_runners=4)
    )
    config.env_runners(
        num_cpus_per_env_runner=2,
        num_gpus_per_env_runner=0.5,
    )
    assert PPOConfig.env_runners.of(config).num_env_runners == 4
    assert PPOConfig.env_runners.of(config).num_gpus_per_env_runner == 0.5

    config = (
        PPOConfig()
        # Use 10 sub-environments (vector) per EnvRunner.
        .env_runners(num_envs_per_env_runner=10)
    )
    config.env_runners(
        gym_env_vectorize_mode=gym.envs.registration.VectorizeMode.ASYNC,  # default is `SYNC`
    )
    assert PPOConfig.env_runners.of(config).num_envs_per_env_runner == 10
    assert PPOConfig.env_runners.of(config).gym_env_vectorize_mode is VectorizeMode.ASYNC

    config = (
        PPOConfig()
        # Use 2 remote Learner actors (default is 0) for distributed data parallelism.
        # Choosing 0 creates a local Learner instance on the main Algorithm process.
        .learners(num_learners=2)
    )
    config.learners(num_gpus_per_learner=1)
    assert PPOConfig.learners.of(config).num_learners == 2
    assert PPOConfig.learners.of(config).num_gpus_per_learner == 1


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (PPOConfig().env_runners(num_env_runners=4), "num_env_runners=4 needs runners in other processes"),
        (PPOConfig().learners(num_learners=2), "num_learners=2 needs learners in other processes"),
        (PPOConfig().env_runners(num_gpus_per_env_runner=0.5), "num_gpus_per_env_runner=0.5 reserves GPUs"),
    ],
)
def test_what_needs_other_processes_is_one_sentence_with_the_cure(config: PPOConfig, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"{sentence}.* set num_.*=0"):
        config.environment("CartPole-v1").build()


def test_an_algorithm_without_environment_says_how_to_give_one() -> None:
    with pytest.raises(ValueError, match=r"PPOConfig has no env; give it with \.environment\(env="):
        PPOConfig().build()


@pytest.mark.parametrize(
    ("num_envs", "batch", "length"), [(1, 2048, 2048), (8, 2048, 256), (3, 2048, 683), (4096, 2048, 1)]
)
def test_an_automatic_fragment_length_covers_the_training_batch(
    num_envs: int, batch: int, length: int
) -> None:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_envs_per_env_runner=num_envs)
    assert num_vector_steps(config.settings, batch) == length


def test_a_fragment_length_of_its_own_decides_alone_and_says_so() -> None:
    config = PPOConfig().environment("CartPole-v1").env_runners(rollout_fragment_length=16)
    assert num_vector_steps(config.settings, 16) == 16
    with pytest.warns(UserWarning, match='16 rows.* a training batch of 2048 needs "auto"'):
        assert num_vector_steps(config.settings, 2048) == 16


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_environments_refuse_is_refused_before_training(seed: int) -> None:
    with pytest.raises(ValueError, match=f"the evaluation seed {seed} is out of range; give a whole"):
        PPOConfig().evaluation(evaluation_seed=seed)


def test_a_setting_that_is_ignored_says_so() -> None:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_cpus_per_env_runner=2)
    with pytest.warns(UserWarning, match="num_cpus_per_env_runner=2 is ignored with num_env_runners=0"):
        check_resources(config.settings)


def test_a_configuration_survives_json() -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1", env_config={"sutton_barto_reward": True})
        .training(lr=[[0, 1e-3], [1000, 0.0]], lambda_=0.8)
        .rl_module(fcnet_hiddens=(32,))
        .debugging(seed=3)
    )
    again = config_from_json("ppo", to_json(config.settings)).settings
    assert to_json(again) == to_json(config.settings)
    assert again.debugging.seed == 3


def test_every_setting_has_a_flag_of_its_own_and_words() -> None:
    groups = flag_groups(PPOConfig())
    add_flags(Parser(prog="test"), groups)  # argparse refuses a name that is taken
    for group in groups:
        names = {field.name for field in fields(group.settings)}
        assert names == set(field_docs(group.settings)), group.section
        assert names == set(field_types(group.settings))


def test_the_help_does_not_wait_for_torch() -> None:
    program = (
        "import sys; from outrider.algorithm.cli import main; main(['--help'])\n"
        "assert not {'torch', 'numpy', 'gymnasium', 'rich', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
