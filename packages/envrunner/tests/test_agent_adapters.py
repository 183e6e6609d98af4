"""Each kind of environment for several agents says the same things in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.agents.adapters import adapt
from outrider.envrunner.agents.agents_copy import AgentsTurn
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.dictionary_agents import DictionaryAgents
from outrider.envrunner.agents.parallel_agents import ParallelAgents
from outrider.envrunner.agents.turn_based_agents import TurnBasedAgents
from outrider.envrunner.environments.environment_kind import is_for_several
from outrider.testing.scripted import ScriptedEnvironment

SEES, DOES = gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(2)


class Spaces:
    """Two agents, who see and do the same."""

    def __init__(self) -> None:
        self.possible_agents = ["a", "b"]
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return SEES

    def action_space(self, agent: str) -> gym.Space[Any]:
        return DOES

    def close(self) -> None:
        pass


class Simultaneous(Spaces):
    """A parallel environment: "b" ends at its first step, "a" at its second."""

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = ["a", "b"]
        return {"a": [0], "b": [0]}, {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        before, flags = self.agents, {agent: agent == self.agents[-1] for agent in self.agents}
        self.agents = self.agents[:-1]
        seen = {agent: [len(before)] for agent in before}
        return seen, dict.fromkeys(before, 1.0), flags, dict.fromkeys(before, False), {}


def test_in_a_parallel_environment_those_act_who_are_left() -> None:
    copy = adapt(Simultaneous(), "env")
    assert isinstance(copy, ParallelAgents)
    turns = [copy.reset(0), copy.step({"a": 0, "b": 0}), copy.step({"a": 0})]
    assert [(list(turn.acting), turn.over) for turn in turns] == [
        (["a", "b"], False),
        (["a"], False),
        ([], True),
    ]
    assert turns[1].terminated == {"a": False, "b": True}


class StillListed(Simultaneous):
    """It flags everybody and takes nobody off the list."""

    def step(self, actions: Mapping[str, Any]) -> Any:
        flags = dict.fromkeys(self.agents, True)
        return {"a": [1], "b": [1]}, {}, flags, {}, {}


def test_a_parallel_environment_is_over_when_all_are_flagged() -> None:
    copy = adapt(StillListed(), "env")
    copy.reset(0)
    assert copy.step({"a": 0, "b": 0}).over


class Turns(Spaces):
    """An AEC game: "a" moves, then "b". A move rewards the other, and the second move of "b" ends it.

    It keeps the books as PettingZoo's `AECEnv` does.
    """

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.agents = ["a", "b"]
        self.agent_selection, self.num_moves = "a", 0
        self.rewards = {"a": 0.0, "b": 0.0}
        self._cumulative_rewards = {"a": 0.0, "b": 0.0}
        self.terminations = {"a": False, "b": False}
        self.truncations = {"a": False, "b": False}

    def observe(self, agent: str) -> list[int]:
        return [self.num_moves]

    def last(self, observe: bool = True) -> Any:
        agent = self.agent_selection
        seen = self.observe(agent) if observe else None
        flags = self.terminations[agent], self.truncations[agent]
        return seen, self._cumulative_rewards[agent], *flags, {}

    def step(self, action: int | None) -> None:
        mover, other = self.agent_selection, "b" if self.agent_selection == "a" else "a"
        if self.terminations[mover] or self.truncations[mover]:
            assert action is None
            self.agents.remove(mover)
            self.agent_selection = other
            return
        assert action is not None
        self.num_moves += 1
        self._cumulative_rewards[mover] = 0.0
        self.rewards = {mover: 1.0, other: 10.0}
        for agent, reward in self.rewards.items():
            self._cumulative_rewards[agent] += reward
        self.agent_selection = other
        self._end_where_due()

    def _end_where_due(self) -> None:
        if self.num_moves == 4:
            self.terminations = {"a": True, "b": False}
            self.truncations = {"a": False, "b": True}


def test_in_a_game_of_turns_the_selected_agent_acts_and_hears_what_its_last_move_brought() -> None:
    copy = adapt(Turns(), "env")
    assert isinstance(copy, TurnBasedAgents)
    turns = [copy.reset(0), copy.step({"a": 0}), copy.step({"b": 0})]
    assert [(turn.acting, turn.rewards) for turn in turns] == [
        (["a"], {"a": 0.0}),
        (["b"], {"b": 10.0}),
        (["a"], {"a": 11.0}),
    ]


def test_steps_of_the_dead_are_done_by_the_adapter_and_bring_them_the_rest_of_their_rewards() -> None:
    copy = adapt(Turns(), "env")
    copy.reset(0)
    for agent in "aba":
        copy.step({agent: 0})
    end = copy.step({"b": 0})
    assert (end.over, list(end.acting), end.rewards) == (True, [], {"a": 11.0, "b": 1.0})
    assert (end.terminated, end.truncated) == ({"a": True, "b": False}, {"a": False, "b": True})
    assert end.observations == {"b": [4]}  # of the truncated one alone


class EndsOutOfTurn(Turns):
    """After its first move "a" is out, which it hears when it would be its turn."""

    def _end_where_due(self) -> None:
        self.terminations["a"] = True


def test_an_end_is_told_at_the_agents_turn_with_all_that_came_until_then() -> None:
    copy = adapt(EndsOutOfTurn(), "env")
    copy.reset(0)
    first = copy.step({"a": 0})
    assert (first.terminated, first.rewards, first.present) == ({}, {"b": 10.0}, ["a", "b"])
    second = copy.step({"b": 0})
    assert (second.terminated["a"], second.rewards["a"], second.acting) == (True, 11.0, ["b"])


class Undying(Turns):
    def step(self, action: int | None) -> None:
        if action is not None:
            super().step(action)


def test_a_dead_agent_that_stays_is_an_error_and_no_endless_loop() -> None:
    copy = adapt(Undying(), "env")
    copy.reset(0)
    for agent in "aba":
        copy.step({agent: 0})
    with pytest.raises(AgentsError, match=r"agent 'a' has ended and step\(None\) does not take it out"):
        copy.step({"b": 0})


def test_a_selected_agent_that_there_is_not_is_one_sentence_and_no_crash() -> None:
    env = Turns()
    copy = adapt(env, "env")
    copy.reset(0)
    env.agents, env.step = ["a", "b"], lambda _: setattr(env, "agent_selection", "c")  # type: ignore[method-assign]
    with pytest.raises(
        AgentsError, match=r"agent_selection is 'c', .* select one of `agents`, which are 'a', 'b'"
    ):
        copy.step({"a": 0})


@pytest.mark.parametrize("kind", [Turns, Simultaneous])
def test_an_environment_need_have_nothing_to_close(
    kind: type[Spaces], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = adapt(kind(), "env")
    monkeypatch.delattr(Spaces, "close")
    copy.close()


class Dictionaries(gym.Env[Any, Any]):
    """As RLlib knows it: who is shown something acts, "__all__" ends the episode."""

    def __init__(self, flags: Mapping[str, bool] | None = None) -> None:
        self.possible_agents = ["a", "b"]
        self.observation_spaces, self.action_spaces = {"a": SEES, "b": SEES}, {"a": DOES, "b": DOES}
        self.flags = {"__all__": False} if flags is None else flags

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return {"a": [0]}, {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        return {"b": [1]}, {"a": 2.0}, self.flags, {"__all__": False}, {}


class NothingToClose:
    """Dictionaries without a base class."""

    possible_agents, observation_spaces, action_spaces = ("a",), {"a": SEES}, {"a": DOES}
    reset, step = Dictionaries.reset, Dictionaries.step


def test_an_environment_with_dictionaries_needs_no_close() -> None:
    adapt(NothingToClose(), "env").close()


def test_with_dictionaries_those_act_who_are_shown_something() -> None:
    copy = adapt(Dictionaries(), "env")
    assert isinstance(copy, DictionaryAgents)
    assert list(copy.reset(0).acting) == ["a"]
    turn = copy.step({"a": 0})
    assert (list(turn.acting), turn.rewards, turn.over, turn.present) == (["b"], {"a": 2.0}, False, None)


def test_all_ends_the_episode_of_everybody() -> None:
    copy = adapt(Dictionaries({"__all__": True}), "env")
    copy.reset(0)
    turn = copy.step({"a": 0})
    assert (turn.over, turn.all_terminated, turn.all_truncated) == (True, True, False)


def test_dictionaries_without_all_are_refused() -> None:
    copy = adapt(Dictionaries({"a": True}), "env")
    copy.reset(0)
    with pytest.raises(AgentsError, match='terminated has no "__all__"'):
        copy.step({"a": 0})


class WithMethods(Spaces):
    """It has methods for spaces, as PettingZoo has, and "__all__"."""

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = ["a", "b"]
        return {"a": [0], "b": [0]}, {}

    def step(self, actions: Mapping[str, Any]) -> AgentsTurn:
        return {"a": [1]}, {}, {"__all__": True}, {"__all__": False}, {}  # type: ignore[return-value]


def test_all_counts_also_where_spaces_are_told_by_methods() -> None:
    copy = adapt(WithMethods(), "env")
    copy.reset(0)
    turn = copy.step({"a": 0, "b": 0})
    assert (turn.over, turn.all_terminated) == (True, True)


@pytest.mark.parametrize(
    "spaces",
    [
        {"observation_spaces": {"a": SEES, "b": SEES}, "observation_space": None},
        {"observation_spaces": None, "observation_space": gym.spaces.Dict({"a": SEES, "b": SEES})},
        {"observation_spaces": None, "observation_space": SEES},
    ],
)
def test_spaces_come_by_agent_or_one_for_all(spaces: Mapping[str, Any]) -> None:
    env = Dictionaries()
    vars(env).update(spaces)
    assert adapt(env, "env").observation_space("b") == SEES


def test_an_agent_without_a_space_is_named() -> None:
    env = Dictionaries()
    env.observation_spaces = {"a": SEES}
    with pytest.raises(ValueError, match="observation_spaces has nothing for agent 'b'"):
        adapt(env, "env")


def test_environments_of_one_agent_are_told_apart() -> None:
    assert not is_for_several(ScriptedEnvironment())
    assert is_for_several(Turns())
    with pytest.raises(ValueError, match=r"cart is an environment for one agent; .*num_agents"):
        adapt(ScriptedEnvironment(), "cart")
    with pytest.raises(ValueError, match=r"make returned 3; it must return a PettingZoo environment"):
        adapt(3, "make")
