"""A native vector that no runner could record is refused before anything starts, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.multi_agent_environment import multi_agent_spaces
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep
from outrider.testing.agent_script import read_script
from outrider.testing.story_vector import StoryVector

NATIVE = EnvRunnerSettings(gym_env_vectorize_mode="vector_entry_point")
SCRIPTS = (
    read_script(
        """
        red_0  red_1  blue_0  env
        a      a+1    a       X
        """
    ),
)


class Changed(StoryVector):
    """Tells the story with some arrays of its own."""

    def __init__(self, change: Mapping[str, Any], *, num_envs: int) -> None:
        super().__init__(SCRIPTS, num_envs=num_envs)
        self.change = change

    def reset(self, seeds: Sequence[int]) -> Any:
        return self.change.get("reset", super().reset(seeds))

    def step(self, actions: Any) -> MultiAgentStep:
        step = super().step(actions)
        return replace(step, **{name: value for name, value in self.change.items() if name != "reset"})


def tried(make: Any) -> Any:
    return multi_agent_spaces(EnvironmentSettings(make), NATIVE, None)


def test_what_is_as_it_should_be_is_tried_and_taken() -> None:
    agents, groups, state_space = tried(partial(Changed, {}))
    assert (agents, len(groups), state_space is None) == (("red_0", "red_1", "blue_0"), 2, False)


def test_where_nobody_is_cut_off_nothing_need_be_said_of_what_was_seen_last() -> None:
    nobody = np.zeros(0, np.intp)
    nothing = LastObservations(environments=nobody, members=nobody, observations={})
    all_ended, none_cut = np.ones((1, 3), np.bool_), np.zeros((1, 3), np.bool_)
    ended: Mapping[str, Any] = {"terminated": all_ended, "truncated": none_cut, "last": [nothing, nothing]}
    assert len(tried(partial(Changed, ended))[0]) == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reset": ({}, {})}, r"first reset: it returned a tuple; return a MultiAgentStep$"),
        (
            {"rewards": np.zeros((1, 2))},
            r"rewards have shape \(1, 2\); return an array \[E, A\], here \(1, 3\)",
        ),
        ({"acting": [[True] * 3]}, r"acting are of type list; return an array \[E, A\], here \(1, 3\)"),
        ({"over": np.zeros(1)}, r"over have dtype float64; return bool"),
        (
            {"observations": ()},
            r"observations is a tuple of 0; return a list with one entry for each of 2 groups",
        ),
        ({"last": []}, r"last is a list of 0; return a list with one entry for each of 2 groups"),
        (
            {"truncated": np.zeros((1, 3), np.bool_)},
            r"last of group 0 names 2 agents and 0 of them are",
        ),
        ({"states": None}, r"states are of type NoneType; return an array \[E, D\]"),
        ({"last_states": None}, r"last_states are of type NoneType; return an array \[K, D\]"),
    ],
)
def test_arrays_that_are_none_of_a_step_are_named(change: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        tried(partial(Changed, change))
    assert "\n" not in str(caught.value)


def nobody_was_cut_off(step: MultiAgentStep) -> Mapping[str, Any]:
    none = [
        replace(
            each,
            environments=each.environments[:0],
            members=each.members[:0],
            observations={path: column[:0] for path, column in each.observations.items()},
        )
        for each in step.last
    ]
    return {"truncated": np.zeros_like(step.truncated), "last": none}


class Forgets(StoryVector):
    def step(self, actions: Any) -> MultiAgentStep:
        step = super().step(actions)
        return replace(step, **nobody_was_cut_off(step))


def test_an_episode_that_is_over_and_leaves_somebody_in_it_names_who() -> None:
    with pytest.raises(ValueError, match="is over and agent 'red_0' is neither terminated nor truncated"):
        tried(partial(Forgets, SCRIPTS))


def test_a_native_vector_in_another_mode_is_told_its_mode() -> None:
    make = partial(StoryVector, SCRIPTS)
    with pytest.raises(ValueError, match=r"needs num_envs.*; use vectorize mode VECTOR_ENTRY_POINT"):
        multi_agent_spaces(EnvironmentSettings(make), EnvRunnerSettings(), None)


class OtherPaths(StoryVector):
    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        step = super().reset(seeds)
        return replace(step, observations=[{"observation": column} for column in step.observations])


def test_leaf_paths_that_the_space_does_not_have_are_shown_beside_its_own() -> None:
    with pytest.raises(ValueError, match=r"group 0 have the leaf paths \['observation'\], and those of"):
        tried(partial(OtherPaths, SCRIPTS))


def with_groups(*slots: Sequence[int], num_envs: int) -> StoryVector:
    vector = StoryVector(SCRIPTS, num_envs=num_envs)
    space = gym.spaces.Discrete(2)
    vector.groups = tuple(
        AgentGroup(slots=np.array(each), observation_space=space, action_space=space) for each in slots
    )
    return vector


@pytest.mark.parametrize("slots", [([0, 1],), ([0, 1], [1, 2]), ([1, 0], [2])])
def test_each_slot_is_in_one_group(slots: Sequence[Sequence[int]]) -> None:
    with pytest.raises(ValueError, match="put each of 0 to 2 into one group, ascending"):
        tried(partial(with_groups, *slots))


@pytest.mark.parametrize("space", [gym.spaces.Discrete(3), gym.spaces.Box(0, 1, (2, 2))])
def test_a_global_state_is_a_box_of_one_axis(space: gym.Space[Any]) -> None:
    def make(num_envs: int) -> StoryVector:
        vector = StoryVector(SCRIPTS, num_envs=num_envs)
        vector.state_space = space  # type: ignore[assignment]
        return vector

    with pytest.raises(ValueError, match=r"state_space is .*; give a Box of one axis \[D\], or None$"):
        tried(make)


class Numbered:
    """Shows a number to an agent that sees one of three."""

    agents, state_space = ("alone",), None
    groups = (
        AgentGroup(
            slots=np.array([0]),
            observation_space=gym.spaces.Discrete(3, start=1),
            action_space=gym.spaces.Discrete(2),
        ),
    )

    def __init__(self, number: int, *, num_envs: int) -> None:
        self.number, self.num_envs = number, num_envs

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        nobody, none = np.zeros((1, 1), np.bool_), np.zeros(0, np.intp)
        return MultiAgentStep(
            observations=[{"": np.array([[self.number]])}],
            acting=~nobody,
            rewards=np.zeros((1, 1), np.float32),
            terminated=nobody,
            truncated=nobody,
            over=nobody[0],
            last=[LastObservations(environments=none, members=none, observations={})],
        )

    def step(self, actions: Any) -> MultiAgentStep:
        return self.reset([])

    def close(self) -> None: ...


@pytest.mark.parametrize("number", [0, 4])
def test_a_number_that_a_discrete_space_does_not_have_is_shown_beside_it(number: int) -> None:
    sentence = rf"agent 'alone' is shown {number} and its observation_space is Discrete\(3, start=1\)"
    with pytest.raises(ValueError, match=sentence):
        tried(partial(Numbered, number))


def test_the_numbers_that_it_has_are_fine() -> None:
    assert tried(partial(Numbered, 3))[0] == ("alone",)
