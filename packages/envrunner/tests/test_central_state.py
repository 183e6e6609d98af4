"""Where an environment has no global state, the observations of all its agents are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from outrider.envrunner.agents.central_state import central_space, central_state
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep

PAIR = gym.spaces.Dict({"x": gym.spaces.Box(0, 9, (2,), np.float32), "y": gym.spaces.Discrete(9)})
ONE = gym.spaces.Box(0, 9, (1,), np.float32)


class Told:
    """A vector of one copy with agents "a" and "c", who see three numbers, and "b", who sees one."""

    num_envs, agents = 1, ("a", "b", "c")
    state_space: gym.spaces.Box | None = None

    def __init__(self, *steps: MultiAgentStep) -> None:
        self.steps = list(steps)
        self.groups = (
            AgentGroup(slots=np.array([0, 2]), observation_space=PAIR, action_space=gym.spaces.Discrete(2)),
            AgentGroup(slots=np.array([1]), observation_space=ONE, action_space=gym.spaces.Discrete(2)),
        )

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        return self.steps.pop(0)

    def step(self, actions: Sequence[Mapping[str, Any]]) -> MultiAgentStep:
        return self.steps.pop(0)

    def close(self) -> None:
        pass


def step(acting: str, number: float, *, ended: str = "", cut: str = "", over: bool = False) -> MultiAgentStep:
    """Everybody who acts sees `number`, and who is cut off saw `number` + 1 last."""
    cut_E = np.array([[agent in cut for agent in "abc"]])
    last = []
    for slots, size in (([0, 2], 3), ([1], 1)):
        environments, members = np.nonzero(cut_E[:, slots])
        seen = np.full((len(members), size), number + 1)
        leaves = {"/x": seen[:, :2], "/y": seen[:, 2]} if size == 3 else {"": seen}
        last.append(LastObservations(environments=environments, members=members, observations=leaves))
    return MultiAgentStep(
        observations=[
            {"/x": np.full((1, 2, 2), number, np.float32), "/y": np.full((1, 2), int(number))},
            {"": np.full((1, 1, 1), number, np.float32)},
        ],
        acting=np.array([[agent in acting for agent in "abc"]]),
        rewards=np.zeros((1, 3), np.float32),
        terminated=np.array([[agent in ended for agent in "abc"]]),
        truncated=cut_E,
        over=np.array([over]),
        last=last,
    )


def states(*steps: MultiAgentStep) -> list[tuple[list[float], list[float] | None]]:
    vector = central_state(Told(*steps))
    found = []
    for index in range(len(steps)):
        shown = vector.reset([0]) if index == 0 else vector.step([{}, {}])
        assert shown.states is not None
        at_end = None if shown.last_states is None else shown.last_states[0].tolist()
        found.append((shown.states[0].tolist(), at_end))
    return found


def test_all_observations_lie_behind_each_other_and_flags_behind_them() -> None:
    assert states(step("abc", 5)) == [([5, 5, 5, 5, 5, 5, 5, 1, 1, 1], None)]


def test_who_waits_is_seen_as_it_last_was_and_who_ended_is_not_there() -> None:
    found = states(step("ab", 1), step("b", 2), step("c", 3, ended="a"))
    assert found[1][0] == [1, 1, 1, 0, 0, 0, 2, 1, 1, 0]
    assert found[2][0] == [0, 0, 0, 3, 3, 3, 2, 0, 1, 1]


def test_who_is_cut_off_while_the_others_go_on_is_not_there_either() -> None:
    assert states(step("ab", 1), step("b", 2, cut="a"))[1][0] == [0, 0, 0, 0, 0, 0, 2, 0, 1, 0]


def test_the_state_at_the_end_has_those_who_were_cut_off_and_the_next_episode_begins_with_nothing() -> None:
    found = states(step("abc", 1), step("b", 4, ended="a", cut="bc", over=True))
    assert found[1] == ([0, 0, 0, 0, 0, 0, 4, 0, 1, 0], [0, 0, 0, 5, 5, 5, 5, 0, 1, 1])


def test_what_a_vector_says_of_a_step_before_is_not_taken_for_the_end() -> None:
    stale = replace(step("b", 4, ended="b", over=True), last=step("", 6, cut="a").last)
    assert states(step("abc", 1), stale)[1][1] == [1, 1, 1, 1, 1, 1, 0, 1, 0, 1]


def test_nothing_is_left_of_an_episode_in_which_the_copy_failed() -> None:
    failed = replace(step("b", 4), failed=np.array([True]))
    assert states(step("abc", 1), failed)[1][0] == [0, 0, 0, 0, 0, 0, 4, 0, 1, 0]


def test_an_environment_with_a_state_keeps_it() -> None:
    vector = Told()
    vector.state_space = gym.spaces.Box(0, 1, (2,))
    assert central_state(vector) is vector


def test_its_space_is_known_without_a_vector() -> None:
    vector = Told()
    assert central_space(vector.agents, vector.groups).shape == (10,)
    assert central_state(vector).state_space == central_space(vector.agents, vector.groups)
