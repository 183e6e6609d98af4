"""What an environment for several agents returns and cannot be is refused with the agent and the cure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.dictionary_agents import DictionaryAgents
from outrider.envrunner.agents.parallel_agents import ParallelAgents
from outrider.envrunner.agents.sync_agents import SyncAgents

PAIR = gym.spaces.Box(-1, 1, (2,), np.float32)
NESTED = gym.spaces.Dict({"far": PAIR, "near": gym.spaces.Discrete(3)})
FINE = np.zeros(2, np.float32)


class Two:
    """A parallel environment whose next step can be told."""

    def __init__(self, space: gym.Space[Any], fine: Any) -> None:
        self.possible_agents = self.agents = ["a", "b"]
        self.space, self.start, self.fine = space, ({"a": fine, "b": fine}, {}), fine
        self.next: Any = None

    def tell(
        self, seen: Any = None, reward: Any = 0.0, flags: Mapping[str, bool] | None = None
    ) -> AgentsError:
        """Return how a step is refused in which "b" is shown and given this."""
        rewards = {"a": 0.0, "b": reward}
        nobody = {"a": False, "b": False}
        self.next = (
            {"a": self.fine, "b": self.fine if seen is None else seen},
            rewards,
            nobody,
            flags or nobody,
            {},
        )
        return self.refused()

    def refused(self) -> AgentsError:
        def rethrow(index: int, error: BaseException) -> int:
            raise error

        with (
            closing(SyncAgents([lambda: ParallelAgents(self)], on_failure=rethrow)) as vector,
            pytest.raises(AgentsError) as caught,
        ):
            _reset_and_step(vector)
        return caught.value

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return self.space

    def action_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Discrete(2)

    def reset(self, seed: int | None = None) -> Any:
        return self.start

    def step(self, actions: Mapping[str, Any]) -> Any:
        return self.next

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (np.zeros(5, np.float32), "an array of shape (5,)"),
        (np.zeros((1, 2), np.float32), "an array of shape (1, 2)"),
        (0.5, "an array of shape ()"),
        ("far", "'far' of type str"),
        (np.array(["far", "near"]), "array(['far', 'near'], dtype='<U4') of type ndarray"),
        ({}, "{} of type dict"),
    ],
)
def test_an_observation_that_does_not_fit_is_named_with_its_agent_and_space(seen: Any, words: str) -> None:
    assert str(Two(PAIR, FINE).tell(seen)) == (
        f"agent 'b' is shown {words} and its observation_space is {PAIR}; show it what that says, or set it "
        "right"
    )


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"far": FINE}, "{'far': array([0., 0.], dtype=float32)} of type dict"),
        ({"far": np.zeros(3), "near": 1}, "an array of shape (3,) at '/far'"),
        ({"far": FINE, "near": None}, "of type dict"),
    ],
)
def test_a_nested_observation_is_named_with_the_leaf_that_does_not_fit(seen: Any, words: str) -> None:
    assert words in str(Two(NESTED, {"far": FINE, "near": 1}).tell(seen))


def test_what_an_agent_saw_last_has_to_fit_too() -> None:
    flags = {"a": False, "b": True}
    assert "agent 'b' is shown an array of shape (3,)" in str(Two(PAIR, FINE).tell(np.zeros(3), flags=flags))


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("much", "'much' of type str"),
        (np.ones(2), "array([1., 1.]) of type ndarray"),
        ([1], "[1] of type list"),
        (None, "None of type NoneType"),
    ],
)
def test_a_reward_that_is_no_number_is_named_with_its_agent(reward: Any, words: str) -> None:
    assert str(Two(PAIR, FINE).tell(reward=reward)) == (
        f"the reward of agent 'b' is {words}; return one number for each agent"
    )


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (({}, {}, {}, {}), "step returned 4 values; return a tuple of 5: observations, rewards, terminated"),
        (None, "step returned one value of type NoneType; return a tuple of 5"),
        (
            ({}, {}, False, {}, {}),
            "step returned terminated False of type bool; return a dictionary keyed by",
        ),
        (([], {}, {}, {}, {}), "step returned observations [] of type list; return a dictionary keyed by"),
    ],
)
def test_a_step_that_returns_something_else_is_refused(returned: Any, words: str) -> None:
    env = Two(PAIR, FINE)
    env.next = returned
    assert words in str(env.refused())


@pytest.mark.parametrize("kind", [ParallelAgents, DictionaryAgents])
def test_a_reset_without_infos_is_refused(kind: Any) -> None:
    env: Any = Two(PAIR, FINE)
    env.observation_spaces = {"a": PAIR, "b": PAIR}
    env.start = {"a": FINE, "b": FINE}
    with pytest.raises(AgentsError, match="reset returned one value of type dict; return a tuple of 2: obs"):
        kind(env).reset(0)


def _reset_and_step(vector: SyncAgents) -> None:
    vector.reset([0])
    vector.step([{"": np.zeros((1, 2), np.int64)}])
