"""Runner and learner together learn each probe environment, by every algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from outrider.envrunner import EnvironmentSettings, EnvRunner, EnvRunnerSettings, OnnxPolicy
from outrider.envrunner.environments.environment import spaces_of
from outrider.learner import make_learner, settings_class
from outrider.rlmodule import ModuleSettings, Policy, build_policy, export_graph
from outrider.testing import probes

if TYPE_CHECKING:
    from outrider.wire import Fragment

every_algorithm = pytest.mark.parametrize("name", ["ppo", "impala", "appo"])


def train(name: str, probe: Any, num_updates: int, **module: Any) -> tuple[Policy, Fragment]:
    """Return the policy, and the last fragment that it acted in."""
    torch.set_num_threads(1)
    environment = EnvironmentSettings(probe)
    observation_space, action_space = spaces_of(environment, "sync")
    policy = build_policy(
        observation_space, action_space, ModuleSettings(fcnet_hiddens=(16,), **module), seed=0
    )
    quick = {}
    if name == "ppo":  # whose updates are of sixteen steps
        quick, num_updates = {"minibatch_size": 64, "num_epochs": 4}, num_updates // 4
    settings = settings_class(name)(lr=0.01, gamma=0.9, **quick)
    learner = make_learner(name, policy, settings, seed=0)
    runner = EnvRunner(
        environment,
        EnvRunnerSettings(num_envs_per_env_runner=16),
        OnnxPolicy(export_graph(policy)),
        observation_space=policy.observation_space,
        action_heads=policy.action_heads,
        num_steps=16,
        seed=0,
        first_environment=0,
    )
    for _ in range(num_updates):
        runner.set_weights(learner.publish())
        fragment = runner.sample()
        learner.update([fragment])
    runner.close()
    return policy, fragment


@every_algorithm
def test_where_truncation_never_ends_the_task_the_value_is_that_of_an_endless_one(name: str) -> None:
    policy, _ = train(name, probes.EndlessReward, 150)
    with torch.no_grad():
        _, value = policy({"": torch.zeros(1, 1)})
    assert value.item() == pytest.approx(1.0 / (1.0 - 0.9), rel=0.1)


@every_algorithm
def test_where_the_task_ends_the_first_steps_value_is_the_discount(name: str) -> None:
    policy, _ = train(name, probes.DelayedReward, 100)
    with torch.no_grad():
        _, values = policy({"": torch.tensor([[0.0], [1.0]])})
    np.testing.assert_allclose(values, [0.9, 1.0], atol=0.05)


@every_algorithm
@pytest.mark.parametrize("probe", [probes.MatchingAction, probes.DelayedCredit])
def test_actions_are_learned_from_what_they_lead_to(name: str, probe: Any) -> None:
    _, fragment = train(name, probe, 60)
    assert fragment.episodes.returns.mean() > 0.9 * probe.BEST_RETURN


@every_algorithm
def test_memory_keeps_what_was_seen_at_the_first_step(name: str) -> None:
    _, fragment = train(name, probes.RememberedCue, 200, use_lstm=True, lstm_cell_size=16)
    assert fragment.episodes.returns.mean() > 0.9 * probes.RememberedCue.BEST_RETURN
