"""PettingZoo's own classes are played to the end of their games, whichever interface they have."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector, multi_agent_spaces
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.settings import EnvRunnerSettings

NEEDED = "PettingZoo is no dependency; the development environment has it"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what other libraries warn of when they are imported
    pytest.importorskip("pettingzoo", reason=NEEDED)
    simple_spread = pytest.importorskip("mpe2.simple_spread.simple_spread", reason=NEEDED)


def rethrow(index: int, error: BaseException) -> int:
    raise error


def make(env: str, **config: Any) -> MultiAgentVector:
    settings = EnvironmentSettings(env, env_config=config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        multi_agent_spaces(settings, EnvRunnerSettings(), None)
        return make_multi_agent_vector(
            settings, EnvRunnerSettings(), num_envs=2, num_agents=None, on_failure=rethrow
        )


def allowed(vector: MultiAgentVector, step: MultiAgentStep) -> list[Any]:
    """Return the first action that is allowed everywhere."""
    found = []
    for group, columns in zip(vector.groups, step.observations, strict=True):
        mask = columns.get("/action_mask")
        shape = (vector.num_envs, len(group.slots))
        found.append({"": np.zeros(shape, np.int64) if mask is None else mask.argmax(axis=-1)})
    return found


def reference() -> tuple[Any, Any]:
    """Play the same episodes with PettingZoo alone."""
    first, totals = [], []
    for seed in (5, 6):
        env, total = simple_spread.parallel_env(max_cycles=4), np.zeros(3)
        observations, _ = env.reset(seed=seed)
        first.append(observations["agent_0"])
        while env.agents:
            rewards = env.step(dict.fromkeys(env.agents, 0))[1]
            total += [rewards[agent] for agent in env.possible_agents]
        totals.append(total)
    return np.array(first), np.array(totals)


@pytest.mark.parametrize("interface", ["parallel_env", "env"])
def test_both_interfaces_of_an_environment_give_the_same_episode(interface: str) -> None:
    vector = make(f"mpe2.simple_spread.simple_spread:{interface}", max_cycles=4)
    step, totals, num_steps = vector.reset([5, 6]), np.zeros((2, 3)), 0
    first = step.observations[0][""][:, 0].copy()
    while not step.over.any():
        step = vector.step(allowed(vector, step))
        totals += step.rewards
        num_steps += 1
    assert step.truncated.all()
    assert [len(last.environments) for last in step.last] == [6]
    assert num_steps == (4 if interface == "parallel_env" else 12)
    expected_first, expected_totals = reference()
    np.testing.assert_allclose(first, expected_first, atol=1e-5)
    np.testing.assert_allclose(totals, expected_totals, atol=1e-3)


def test_a_board_game_is_played_in_turns_and_who_wins_gets_it_for_the_last_move() -> None:
    vector = make("pettingzoo.classic.tictactoe.tictactoe:env")
    step, turns = vector.reset([0, 0]), []
    while not step.over.any():
        turns.append(step.acting[0].tolist())
        step = vector.step(allowed(vector, step))
    assert turns == [[True, False], [False, True]] * 3 + [[True, False]]  # fields 0, 1, ..., 6 in turn
    assert step.terminated.tolist() == [[True, True]] * 2
    assert step.rewards.tolist() == [[1, -1]] * 2
