"""What has no effect is warned of once for a run, by the names of the policies that have it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from outrider.algorithm import IMPALAConfig, PolicySpec, PPOConfig
from outrider.algorithm.assembly.blueprint import Blueprint
from outrider.algorithm.assembly.learner_assembly import make_async_learners
from outrider.algorithm.assembly.one_policy_assembly import policy_recipe
from outrider.algorithm.settings.run_settings import NetworkSettings

IGNORED_KL = "kl_coeff is ignored; set use_kl_loss=True to use it"
IGNORED_LSTM = "lstm_cell_size=8 is ignored: set use_lstm=True to use it"


def config(**training: Any) -> PPOConfig:
    few: dict[str, Any] = {"train_batch_size_per_learner": 8, "minibatch_size": 8, "num_epochs": 1}
    return PPOConfig().environment("CartPole-v1").training(**few | training).rl_module(fcnet_hiddens=(4,))


def said_by(made: PPOConfig | IMPALAConfig) -> list[str]:
    """Return all warnings of making, training and taking out, however often each came."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with made.build() as algorithm:
            algorithm.train()
            if algorithm.settings.multi_agent.is_on:
                assert algorithm.policies["0"]
    return [str(each.message) for each in said]


def test_a_training_setting_without_effect_is_named_once() -> None:
    assert said_by(config(kl_coeff=0.3)) == [IGNORED_KL]


def test_settings_are_looked_at_together() -> None:
    assert not said_by(config(kl_coeff=0.3).training(use_kl_loss=True))
    assert not said_by(IMPALAConfig().environment("CartPole-v1"))


def test_a_learner_that_trains_by_itself_does_not_repeat_what_was_said_of_its_policy() -> None:
    settings = IMPALAConfig().environment("CartPole-v1").learners(num_learners=0).settings
    recipe = policy_recipe(replace(settings, rl_module=NetworkSettings(lstm_cell_size=8)), 1)
    with pytest.warns(UserWarning, match=IGNORED_LSTM):
        policy = recipe.build()
    make_async_learners(
        Blueprint(
            settings=settings, seed=1, num_steps=8, recipe=recipe, policy=policy, graph=None, run_name="run"
        )
    ).close()


def test_a_learner_setting_without_effect_is_named_once() -> None:
    sentence = "learner_insecure is ignored; set learner_address, or leave it out"
    assert said_by(config().learners(learner_insecure=True)) == [sentence]


def test_what_a_policy_has_of_its_own_without_effect_is_named_with_the_policy() -> None:
    policies = {"0": PolicySpec(training={"kl_coeff": 0.3}), "1": PolicySpec(rl_module={"lstm_cell_size": 8})}
    assert said_by(config().multi_agent(num_agents=2, policies=policies)) == [
        f"policy '0': {IGNORED_KL}",
        f"policy '1': {IGNORED_LSTM}",
    ]


def test_some_of_the_policies_are_counted() -> None:
    own = PolicySpec(training={"kl_coeff": 0.3})
    policies = {"0": own, "1": own, "2": own, "3": None}
    said = said_by(config().multi_agent(num_agents=4, policies=policies))
    assert said == [f"policy '0' and 2 more: {IGNORED_KL}"]


class Talking(nn.Module):
    """A network of the user's own that says something twice, and something that is only for developers."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        warnings.warn("slow", stacklevel=1)
        warnings.warn("slow", stacklevel=1)
        warnings.warn("old", PendingDeprecationWarning, stacklevel=1)
        self.policy, self.value = nn.Linear(4, num_action_parameters), nn.Linear(4, 1)

    def forward(self, observation: Any) -> tuple[Any, Any]:
        return self.policy(observation), self.value(observation).squeeze(-1)


def test_what_a_network_says_twice_is_said_once_and_what_is_filtered_is_not_said() -> None:
    own = PolicySpec(rl_module={"network": Talking})
    policies = {"0": own, "1": own, "2": None}
    made = config().multi_agent(num_agents=3, policies=policies)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        made.build().stop()
    sentences = [str(each.message) for each in said]
    assert [each for each in sentences if each.endswith(("slow", "old"))] == ["policy '0' and 1 more: slow"]


def test_what_all_policies_share_is_said_of_none_of_them() -> None:
    wide = PolicySpec(rl_module={"fcnet_hiddens": (5,)})
    made = config(kl_coeff=0.3).rl_module(lstm_cell_size=8)
    assert said_by(made.multi_agent(num_agents=2, policies={"0": wide, "1": None})) == [
        IGNORED_KL,
        IGNORED_LSTM,
    ]
