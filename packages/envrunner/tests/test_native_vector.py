"""What a native vector gets wrong in the middle of training is told in a sentence, and never stretched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.agents.multi_agent_vector import LastObservations, MultiAgentStep, MultiAgentVector
from outrider.envrunner.environments.environment_state import StatefulEnvironment
from outrider.testing.agent_script import read_script
from outrider.testing.story_vector import StoryVector

SCRIPTS = (
    read_script(
        """
        red_0  red_1  blue_0  env
        a      a      a
        a      a      a
        a      a      aT      X
        """
    ),
)
NOBODY, SOME = np.zeros((2, 3), np.bool_), np.zeros((2, 2), np.bool_)


class LateChange(StoryVector):
    """Tells the story, and in its third step some arrays of its own."""

    def __init__(self, change: Mapping[str, Any], *, num_envs: int) -> None:
        super().__init__(SCRIPTS, num_envs=num_envs)
        self.change, self.number = change, 0

    def step(self, actions: Any) -> Any:
        self.number += 1
        step = super().step(actions)
        if self.number != 3:
            return step
        return self.change["step"] if "step" in self.change else replace(step, **self.change)


def made(make: Any) -> MultiAgentVector:
    def rethrow(index: int, error: BaseException) -> int:
        raise error

    settings = EnvRunnerSettings(gym_env_vectorize_mode="vector_entry_point")
    return make_multi_agent_vector(
        EnvironmentSettings(make), settings, num_envs=2, num_agents=None, on_failure=rethrow
    )


def play(vector: MultiAgentVector) -> MultiAgentStep:
    """Play three steps; return the last."""
    actions = [{"": np.zeros((2, len(group.slots)), np.int64)} for group in vector.groups]
    vector.reset([0, 0])
    return [vector.step(actions) for _ in range(3)][-1]


def test_what_is_as_it_should_be_is_passed_on() -> None:
    step = play(made(partial(LateChange, {})))
    assert step.over.tolist() == [True, True]
    assert step.truncated.any()


def test_numbers_of_other_types_and_failures_are_fine() -> None:
    step = play(made(partial(LateChange, {"rewards": np.ones((2, 3)), "failed": np.ones(2, np.bool_)})))
    assert step.rewards.sum() == 6


def last(environments: Any, members: Any, size: int = 1) -> list[LastObservations]:
    """Return what reds saw last, or say that they did."""
    seen = {"": np.zeros((size, 4), np.float32)}
    empty = np.zeros(0, np.intp)
    return [
        LastObservations(environments=environments, members=members, observations=seen),
        LastObservations(environments=empty, members=empty, observations={"": np.zeros((0, 3), np.float32)}),
    ]


ONE_CUT = NOBODY.copy()
ONE_CUT[0, 0] = True


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"step": None}, "it returned a NoneType; return a MultiAgentStep"),
        ({"rewards": 1.0}, "rewards are of type float; return an array [E, A], here (2, 3)"),
        ({"rewards": np.zeros(3)}, "rewards have shape (3,); return an array [E, A], here (2, 3)"),
        ({"rewards": np.zeros((2, 1))}, "rewards have shape (2, 1); return an array"),
        ({"rewards": np.full((2, 3), None)}, "rewards have dtype object; return float32 or what"),
        ({"rewards": {"red_0": 1.0}}, "rewards are of type dict; return an array"),
        ({"acting": None}, "acting are of type NoneType; return an array [E, A]"),
        ({"terminated": np.zeros(3, np.bool_)}, "terminated have shape (3,); return an array"),
        ({"truncated": NOBODY.astype(int)}, "truncated have dtype int64; return bool"),
        ({"over": np.zeros((2, 3), np.bool_)}, "over have shape (2, 3); return an array [E], here (2,)"),
        ({"over": np.zeros(2)}, "over have dtype float64; return bool"),
        ({"failed": np.zeros(3, np.bool_)}, "failed have shape (3,); return an array [E], here (2,)"),
        ({"observations": {}}, "observations is a dict; return a list with one entry for each of 2 groups"),
        ({"observations": [{}, {}]}, "observations of group 0 have the leaf paths [], and those of"),
        ({"observations": [np.zeros(2)] * 2}, "observations of group 0 are of type ndarray; return a dict"),
        ({"observations": [{"": np.zeros((1, 2, 2))}] * 2}, "observations of group 0 have shape (1, 2, 2)"),
        ({"observations": [{"": [0.0]}] * 2}, "observations of group 0 are of type list; return an array"),
        ({"last": []}, "last is a list of 0; return a list with one entry for each of 2 groups"),
        ({"last": [None, None]}, "last of group 0 is a NoneType; return LastObservations"),
        ({"last_states": None}, "last_states are of type NoneType; return an array [K, D], here (2, "),
        ({"states": np.zeros((2, 9))}, "states have shape (2, 9); return an array [E, D]"),
    ],
)
def test_a_late_mistake_names_the_step_the_field_what_was_given_and_what_is_wanted(
    change: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(AgentsError) as caught:
        play(made(partial(LateChange, change)))
    assert str(caught.value).startswith("environment partial") or "LateChange" in str(caught.value)
    assert f", in step 3: {sentence}" in str(caught.value)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (
            last(np.array([0]), np.array([-1])),
            "and not slots) in last of group 0 name -1; name those from 0 to 1",
        ),
        (
            last(np.array([0]), np.array([2])),
            "and not slots) in last of group 0 name 2; name those from 0 to 1",
        ),
        (
            last(np.array([2]), np.array([0])),
            "environments in last of group 0 name 2; name those from 0 to 1",
        ),
        (last([0], [0]), "environments in last of group 0 are [0]; return an array [K] of whole numbers"),
        (
            last(np.array([0]), np.array([0]), 2),
            "last observations of group 0 have shape (2, 4); return an array",
        ),
        (
            last(np.array([0, 1]), np.array([0, 0])),
            "last of group 0 names 2 agents and 1 of them are truncated",
        ),
    ],
)
def test_what_was_seen_last_is_looked_at_where_agents_are_cut_off(
    told: list[LastObservations], sentence: str
) -> None:
    change = {"truncated": ONE_CUT, "over": np.zeros(2, np.bool_), "last": told}
    with pytest.raises(AgentsError) as caught:
        play(made(partial(LateChange, change)))
    assert sentence in str(caught.value)


def test_a_reset_is_looked_at_too() -> None:
    class Forgetful(StoryVector):
        def reset(self, seeds: Any) -> Any:
            return super().reset(seeds), {}

    with pytest.raises(AgentsError, match=r"in a reset: it returned a tuple; return a MultiAgentStep"):
        made(partial(Forgetful, SCRIPTS)).reset([0, 0])


class Saved(StoryVector):
    def get_state(self) -> Any:
        return {"number": 7}

    def set_state(self, state: Any) -> None:
        self.state = state


def test_the_state_is_that_of_the_vector() -> None:
    saved, other = made(partial(Saved, SCRIPTS)), made(partial(StoryVector, SCRIPTS))
    assert isinstance(saved, StatefulEnvironment)
    assert isinstance(other, StatefulEnvironment)
    saved.set_state({"number": 8})
    assert (saved.get_state(), saved.vector.state, other.get_state()) == ({"number": 7}, {"number": 8}, None)  # type: ignore[attr-defined]
