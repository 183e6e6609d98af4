"""Copies of an environment of one agent: each agent sees its own from start to end, and all wait for all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from outrider.envrunner.agents.independent_agents import IndependentAgents
from outrider.envrunner.agents.independent_vector import IndependentVector
from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
from outrider.envrunner.agents.sync_agents import SyncAgents
from outrider.envrunner.environments.environment_state import StatefulEnvironment
from outrider.testing.scripted import ScriptedEnvironment, scripted_vector

NUM_ENVS, NUM_AGENTS = 2, 3
ENDS = ((3, "terminated"), (5, "truncated"), (2, "both"), (1, "truncated"))


def rethrow(index: int, error: BaseException) -> int:
    raise error


def in_turn() -> MultiAgentVector:
    make = functools.partial(IndependentAgents, ScriptedEnvironment, NUM_AGENTS)
    return SyncAgents([make] * NUM_ENVS, on_failure=rethrow)


def native(mode: AutoresetMode) -> MultiAgentVector:
    copies = scripted_vector(num_envs=NUM_ENVS * NUM_AGENTS, autoreset_mode=mode)
    return IndependentVector(copies, NUM_AGENTS)


KINDS = [in_turn, *(functools.partial(native, mode) for mode in AutoresetMode)]
NAMES = ["in turn", *(mode.name for mode in AutoresetMode)]


@pytest.mark.parametrize("make", KINDS, ids=NAMES)
def test_every_row_of_every_agent_happened_and_its_end_is_the_scripts(
    make: Callable[[], MultiAgentVector],
) -> None:
    vector = make()
    step, num_ends = vector.reset([4, 9]), 0
    for t in range(200):
        before, acting = step.observations[0][""].copy(), step.acting.copy()
        actions = np.full((NUM_ENVS, NUM_AGENTS), t % 3)
        step = vector.step([{"": actions}])
        seed, episode, time = np.moveaxis(before, -1, 0)
        expected = np.where(acting, 100 * episode + 10 * time + actions, 0)
        np.testing.assert_array_equal(step.rewards, expected)
        for env, agent in zip(*np.nonzero(acting), strict=True):
            length, how = ENDS[int(seed[env, agent] + episode[env, agent]) % len(ENDS)]
            ends = time[env, agent] + 1 == length
            num_ends += ends
            assert step.terminated[env, agent] == (ends and how != "truncated")
            assert step.truncated[env, agent] == (ends and how != "terminated")
            if not ends:  # it goes on in the same episode
                assert step.acting[env, agent]
                assert step.observations[0][""][env, agent].tolist() == [
                    seed[env, agent],
                    episode[env, agent],
                    time[env, agent] + 1,
                ]
            elif step.truncated[env, agent]:
                found = step.last[0]
                index = np.flatnonzero((found.environments == env) & (found.members == agent))
                assert found.observations[""][index].tolist() == [
                    [seed[env, agent], episode[env, agent], length]
                ]
        begins = step.acting & (~acting | step.terminated | step.truncated)
        assert (step.observations[0][""][begins][:, 2] == 0).all()  # nobody begins in the middle
    assert num_ends > 40


@pytest.mark.parametrize("make", KINDS, ids=NAMES)
def test_an_environment_is_over_when_all_its_agents_have_ended_once(
    make: Callable[[], MultiAgentVector],
) -> None:
    vector = make()
    vector.reset([4, 9])
    num_ended = np.zeros((NUM_ENVS, NUM_AGENTS), np.int64)
    num_over = 0
    for _ in range(200):
        step = vector.step([{"": np.zeros((NUM_ENVS, NUM_AGENTS), np.int64)}])
        num_ended += step.terminated | step.truncated
        assert (num_ended <= 1).all()
        np.testing.assert_array_equal(step.over, num_ended.all(axis=1))
        num_ended[step.over] = 0
        num_over += step.over.sum()
    assert num_over > 10


@pytest.mark.parametrize("make", [in_turn, functools.partial(native, AutoresetMode.DISABLED)])
def test_all_begin_together_where_copies_are_reset_when_told(make: Callable[[], MultiAgentVector]) -> None:
    vector = make()
    vector.reset([4, 9])
    for _ in range(30):
        step = vector.step([{"": np.zeros((NUM_ENVS, NUM_AGENTS), np.int64)}])
        assert step.acting[step.over].all()


class Picky(gym.vector.VectorEnv[Any, Any, Any]):
    """It refuses actions that its space has not, whoever waits."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self) -> None:
        self.num_envs = 2
        self.single_observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
        self.single_action_space = gym.spaces.Discrete(2, start=5)
        self.action_space = gym.spaces.MultiDiscrete([2, 2], start=[5, 5])

    def reset(self, **_: Any) -> Any:  # type: ignore[override]
        return np.zeros((2, 1), np.float32), {}

    def step(self, actions: Any) -> Any:
        assert self.action_space.contains(actions)
        ends = np.array([True, False])
        return np.zeros((2, 1), np.float32), np.ones(2), ends, ~ends & False, {}


def test_copies_whose_agents_wait_do_what_is_allowed() -> None:
    vector = IndependentVector(Picky(), 2)
    vector.reset([0])
    vector.step([{"": np.array([[5, 6]])}])
    step = vector.step([{"": np.array([[-1, 6]])}])
    assert step.acting.tolist() == [[False, True]]
    assert step.rewards.tolist() == [[0, 1]]


def test_agents_have_seeds_of_their_own() -> None:
    step = in_turn().reset([4, 9])
    assert len(set(step.observations[0][""][..., 0].ravel().tolist())) == NUM_ENVS * NUM_AGENTS


def cart_poles_in_turn() -> MultiAgentVector:
    make = functools.partial(IndependentAgents, functools.partial(gym.make, "CartPole-v1"), NUM_AGENTS)
    return SyncAgents([make] * NUM_ENVS, on_failure=rethrow)


def cart_poles_natively() -> MultiAgentVector:
    copies = gym.make_vec("CartPole-v1", NUM_ENVS * NUM_AGENTS, gym.VectorizeMode.VECTOR_ENTRY_POINT)
    return IndependentVector(copies, NUM_AGENTS)


@pytest.mark.parametrize("make", [cart_poles_in_turn, cart_poles_natively])
def test_a_saved_vector_continues_bit_for_bit(make: Callable[[], MultiAgentVector]) -> None:
    vector, other = make(), make()
    assert isinstance(vector, StatefulEnvironment)
    assert isinstance(other, StatefulEnvironment)
    actions = [{"": np.zeros((NUM_ENVS, NUM_AGENTS), np.int64)}]
    vector.reset([1, 2])
    for _ in range(12):  # some have ended, and wait
        vector.step(actions)
    other.reset([3, 4])
    other.set_state(vector.get_state())
    for _ in range(40):
        one, two = vector.step(actions), other.step(actions)
        np.testing.assert_array_equal(one.acting, two.acting)
        np.testing.assert_array_equal(
            one.observations[0][""][one.acting], two.observations[0][""][two.acting]
        )
        np.testing.assert_array_equal(one.over, two.over)
    vector.close()
    other.close()


def test_a_vector_that_cannot_be_saved_says_so() -> None:
    vector = in_turn()
    assert isinstance(vector, StatefulEnvironment)
    assert vector.get_state() is None
