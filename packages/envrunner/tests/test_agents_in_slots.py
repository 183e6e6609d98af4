"""What an adapter tells of a copy stands in the arrays: who acts, who got what, who ended and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.agents import agents_in_slots
from outrider.envrunner.agents.agents_copy import AgentsTurn
from outrider.envrunner.agents.agents_error import AgentsError, ForgottenEndError
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.agents.sync_agents import SyncAgents

NUMBER = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Script:
    """An `AgentsCopy` whose every turn is given: first that of a reset, then one for each step."""

    def __init__(
        self, *turns: AgentsTurn, agents: str = "ab", spaces: Mapping[str, Any] | None = None
    ) -> None:
        self.turns, self.agents, self.done = list(turns), list(agents), [{}]
        self.state_space: gym.spaces.Box | None = None
        self.spaces = spaces or {}
        self.seeds: list[int | None] = []

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return self.spaces.get(agent, (NUMBER, None))[0]

    def action_space(self, agent: str) -> gym.Space[Any]:
        return self.spaces.get(agent, (None, gym.spaces.Discrete(9)))[1]

    def reset(self, seed: int | None) -> AgentsTurn:
        self.seeds.append(seed)
        return self.turns.pop(0)

    def step(self, actions: Mapping[str, Any]) -> AgentsTurn:
        self.done.append(dict(actions))
        return self.turns.pop(0)

    def state(self) -> list[int]:
        return [len(self.turns)]

    def close(self) -> None:
        pass


def turn(seen: Mapping[str, float], acting: str, **told: Any) -> AgentsTurn:
    return AgentsTurn({agent: [value] for agent, value in seen.items()}, list(acting), **told)


def rethrow(index: int, error: BaseException) -> int:
    raise error


def play(script: Any) -> list[MultiAgentStep]:
    """Step to the end of the script; agent in slot i does i + 1."""
    vector = SyncAgents([lambda: script], on_failure=rethrow)
    steps = [copied(vector.reset([7]))]
    while script.turns:
        actions = [{"": group.slots[None] + 1} for group in vector.groups]
        steps.append(copied(vector.step(actions)))
    return steps


def copied(step: MultiAgentStep) -> MultiAgentStep:
    """Keep a step, whose arrays are used again."""
    arrays = {
        name: getattr(step, name).copy() for name in ("acting", "rewards", "terminated", "truncated", "over")
    }
    observations = [{path: column.copy() for path, column in each.items()} for each in step.observations]
    states = None if step.states is None else step.states.copy()
    return replace(step, observations=observations, states=states, **arrays)


def seen(step: MultiAgentStep) -> list[float]:
    return step.observations[0][""][0, :, 0].tolist()


def last(step: MultiAgentStep) -> dict[int, float]:
    found = step.last[0]
    return dict(zip(found.members.tolist(), found.observations[""][:, 0].tolist(), strict=True))


def names(flags: Any) -> str:
    return "".join(agent for agent, flag in zip("abc", flags[0], strict=False) if flag)


def test_those_who_act_are_shown_and_what_all_got_is_told() -> None:
    start, step = play(Script(turn({"a": 1}, "a"), turn({"b": 2}, "b", rewards={"a": 3, "b": 4})))
    assert (names(start.acting), seen(start)) == ("a", [1, 0])
    assert (names(step.acting), seen(step), step.rewards.tolist()) == ("b", [1, 2], [[3, 4]])


def test_only_those_act_whose_turn_it_is() -> None:
    script = Script(turn({"a": 1, "b": 2}, "ab"), turn({"b": 3}, "b"), turn({}, ""))
    play(script)
    assert script.done[1:] == [{"a": 1, "b": 2}, {"b": 2}]


def test_who_ends_does_not_act_though_still_listed() -> None:
    script = Script(
        turn({"a": 1, "b": 1}, "ab"), turn({"a": 2, "b": 2}, "ab", terminated={"a": True, "b": False})
    )
    step = play(script)[1]
    assert (names(step.terminated), names(step.acting), step.over.tolist()) == ("a", "b", [False])


def test_what_a_truncated_agent_saw_is_kept_and_of_a_terminated_one_nothing() -> None:
    ends = {"terminated": {"a": True}, "truncated": {"b": True}}
    step = play(Script(turn({"a": 1, "b": 1}, "ab"), turn({"a": 2, "b": 3}, "", present="", **ends)))[1]
    assert last(step) == {1: 3.0}


def test_the_environments_end_ends_all_who_have_no_end_of_their_own() -> None:
    end = turn({"a": 5, "b": 6}, "", terminated={"a": True}, over=True, all_truncated=True)
    step = play(Script(turn({"a": 1, "b": 1}, "ab"), end, turn({"a": 8}, "a")))[1]
    assert (names(step.terminated), names(step.truncated), step.over.tolist()) == ("a", "b", [True])
    assert last(step) == {1: 6.0}


def test_who_is_cut_off_in_the_turn_of_another_has_seen_last_what_it_saw_in_its_own() -> None:
    end = turn({"b": 6}, "", over=True, all_truncated=True)
    step = play(Script(turn({"a": 1}, "a"), turn({"b": 2}, "b"), end, turn({"a": 8}, "a")))[2]
    assert last(step) == {0: 1.0, 1: 6.0}


def test_who_never_took_part_does_not_end() -> None:
    end = turn({}, "", over=True, all_terminated=True)
    step = play(Script(turn({"a": 1}, "a"), end, turn({"a": 8}, "a")))[1]
    assert names(step.terminated) == "a"


def test_the_next_episode_begins_in_the_step_that_ends_one() -> None:
    end = turn({"a": 5}, "", rewards={"a": 2}, terminated={"a": True}, over=True)
    script = Script(turn({"a": 1}, "a"), end, turn({"b": 8}, "b"))
    step = play(script)[1]
    assert (names(step.acting), seen(step)[1], step.rewards.tolist()) == ("b", 8.0, [[2, 0]])
    assert script.seeds == [7, None]


def test_whoever_took_part_before_a_reset_in_the_middle_does_not_end_after_it() -> None:
    end = turn({}, "", terminated={"a": True, "b": True}, over=True)
    script = Script(turn({"a": 1, "b": 1}, "ab"), turn({"b": 2}, "b"), end, turn({"a": 3}, "a"))
    vector = SyncAgents([lambda: script], on_failure=rethrow)
    vector.reset([0])
    vector.reset([1])
    assert names(vector.step([{"": np.zeros((1, 2), np.int64)}]).terminated) == "b"


def test_an_agent_may_come_back_and_another_may_join() -> None:
    steps = play(
        Script(
            turn({"a": 1}, "a"),
            turn({"a": 2, "b": 2}, "b", terminated={"a": True}),
            turn({"a": 3, "b": 3}, "ab"),
            turn({}, "", terminated={"a": True, "b": True}),
        )
    )
    assert [names(step.acting) for step in steps] == ["a", "b", "ab", ""]
    assert names(steps[3].terminated) == "ab"


def test_an_end_that_is_forgotten_is_an_error_that_names_agent_and_copy() -> None:
    script = Script(turn({"a": 1, "b": 1}, "ab"), turn({"a": 2}, "a", present=["a"]))
    with pytest.raises(ForgottenEndError, match="agent 'b' vanished from environment copy 0") as caught:
        play(script)
    assert (caught.value.agent, caught.value.environment) == ("b", 0)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (turn({"a": 1, "z": 1}, "az"), "agent 'z' takes part and is none of possible_agents"),
        (turn({"a": 1}, "ab"), "agent 'b' is to act and there is no observation of it"),
        (
            turn({"a": 1}, "a", truncated={"b": True}),
            "agent 'b' is truncated in a step without an observation",
        ),
        (turn({"a": 1}, "a", rewards={"z": 1}), "agent 'z' takes part and is none of possible_agents"),
        (turn({"a": 1}, "a", terminated={"z": True}), "agent 'z' is terminated or truncated and is none of"),
        (turn({"a": 1}, "a", truncated={"z": True}), "agent 'z' is terminated or truncated and is none of"),
    ],
)
def test_what_breaks_a_rule_is_no_failure_of_a_copy_but_an_error(step: AgentsTurn, sentence: str) -> None:
    with pytest.raises(AgentsError, match=sentence):
        play(Script(turn({"a": 1, "b": 1}, "ab"), step))


def test_nobody_on_turn_for_very_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents_in_slots, "_MOST_IDLE_STEPS", 2)
    play(Script(turn({"a": 1}, "a"), turn({}, ""), turn({}, ""), turn({"a": 1}, "a"), turn({}, "")))
    with pytest.raises(AgentsError, match="nobody has acted for 2 steps"):
        play(Script(turn({"a": 1}, "a"), turn({}, ""), turn({}, ""), turn({}, "")))


def test_agents_with_equal_spaces_form_a_group_and_actions_keep_the_agents_order() -> None:
    wide = (gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(5))
    script = Script(turn({"a": 1, "b": 2, "c": 3}, "abc"), turn({}, ""), agents="abc", spaces={"b": wide})
    vector = SyncAgents([lambda: script], on_failure=rethrow)
    vector.reset([0])
    assert [group.slots.tolist() for group in vector.groups] == [[0, 2], [1]]
    vector.step([{"": np.array([[4, 6]])}, {"": np.array([[5]])}])
    assert list(script.done[1].items()) == [("a", 4), ("b", 5), ("c", 6)]


def test_nested_observations_and_actions_go_by_leaf() -> None:
    seen_space = gym.spaces.Dict({"x": NUMBER, "y": gym.spaces.Discrete(5)})
    done_space = gym.spaces.Tuple((gym.spaces.Discrete(3), NUMBER))
    script = Script(
        AgentsTurn({"a": {"x": [1.5], "y": 4}}, ["a"]),
        AgentsTurn({"a": {"x": [2.5], "y": 3}}, [], truncated={"a": True}),
        agents="a",
        spaces={"a": (seen_space, done_space)},
    )
    vector = SyncAgents([lambda: script], on_failure=rethrow)
    start = copied(vector.reset([0]))
    step = vector.step([{"/0": np.array([[2]]), "/1": np.array([[[0.5]]], np.float32)}])
    assert {path: column.ravel().tolist() for path, column in start.observations[0].items()} == {
        "/x": [1.5],
        "/y": [4],
    }
    assert {path: column.ravel().tolist() for path, column in step.last[0].observations.items()} == {
        "/x": [2.5],
        "/y": [3],
    }
    assert script.done[1]["a"] == (2, np.array([0.5], np.float32))


def test_the_global_state_is_told_as_it_is_now_and_as_it_was_at_the_end() -> None:
    script = Script(
        turn({"a": 1}, "a"), turn({"a": 2}, "", truncated={"a": True}, over=True), turn({"a": 3}, "a")
    )
    script.state_space = gym.spaces.Box(0, 9, (1,), np.float32)
    start, step = play(script)
    assert start.states is not None
    assert step.states is not None
    assert step.last_states is not None
    assert (start.states.tolist(), step.states.tolist(), step.last_states.tolist()) == ([[2]], [[0]], [[1]])


class Stateless(Script):
    """It has no state where everybody has ended, as PettingZoo's multiwalker has none."""

    def step(self, actions: Mapping[str, Any]) -> AgentsTurn:
        self.turn = super().step(actions)
        return self.turn

    def reset(self, seed: int | None) -> AgentsTurn:
        self.turn = super().reset(seed)
        return self.turn

    def state(self) -> list[int]:
        if self.turn.over:
            raise ArithmeticError("there is nothing to tell")
        return super().state()


@pytest.mark.parametrize("truncated", [{}, {"a": True}])
def test_an_end_without_a_future_needs_no_global_state(truncated: dict[str, bool]) -> None:
    over = turn({"a": 2}, "", terminated={"a": True}, truncated=truncated, over=True)
    script = Stateless(turn({"a": 1}, "a"), over, turn({"a": 3}, "a"))
    script.state_space = gym.spaces.Box(0, 9, (1,), np.float32)
    _, step = play(script)
    assert step.last_states is not None
    assert step.last_states.tolist() == [[0]]


class Failing(Script):
    def step(self, actions: Mapping[str, Any]) -> AgentsTurn:
        raise ArithmeticError("the physics are off")


def test_a_copy_that_fails_is_made_anew_and_nothing_has_happened_in_it() -> None:
    copies: list[Any] = [
        Script(turn({"a": 1}, "a"), turn({"a": 2}, "a", rewards={"a": 5})),
        Failing(turn({"a": 1}, "a")),
        Script(turn({"b": 9}, "b")),
    ]
    failures: list[tuple[int, str]] = []

    def note(index: int, error: BaseException) -> int:
        failures.append((index, str(error)))
        return 11

    makers: Sequence[Any] = [lambda: copies.pop(0)] * 2
    replacement = copies[2]
    vector = SyncAgents(makers, on_failure=note)
    vector.reset([0, 1])
    step = vector.step([{"": np.zeros((2, 2), np.int64)}])
    assert failures == [(1, "the physics are off")]
    assert step.failed is not None
    assert step.failed.tolist() == [False, True]
    assert step.acting.tolist() == [[True, False], [False, True]]
    assert step.rewards.tolist() == [[5, 0], [0, 0]]
    assert replacement.seeds == [11]


def test_nothing_has_happened_either_where_the_reset_after_an_episode_fails() -> None:
    end = turn({}, "", terminated={"a": True}, rewards={"a": 5}, over=True)
    copies: list[Any] = [Script(turn({"a": 1}, "a"), end), Script(turn({"a": 3}, "a"))]
    vector = SyncAgents([lambda: copies.pop(0)], on_failure=lambda *_: 11)
    vector.reset([0])
    step = vector.step([{"": np.zeros((1, 2), np.int64)}])
    assert step.failed is not None
    assert step.failed.tolist() == [True]
    for told in (step.terminated, step.over, step.rewards):
        assert not told.any()
    assert step.observations[0][""][0, 0].tolist() == [3]


def test_agents_need_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="possible_agents names 'a' twice"):
        SyncAgents([lambda: Script(agents="aba")], on_failure=rethrow)
    with pytest.raises(ValueError, match="possible_agents is empty"):
        SyncAgents([lambda: Script(agents="")], on_failure=rethrow)
