"""What every vector of environments for several agents must tell: what happened, step by step.

Subclass the suite in a test module and say how the vector under test is made. It compares with the story
itself, told one copy at a time.
"""

# ruff: noqa: ANN401 - observations and actions have no common type

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.testing.agent_script import Script
from outrider.testing.situations import SITUATIONS, Situation, Way
from outrider.testing.story_teller import Moment, StoryTeller

SEEDS = (1000, 2001, 3002)
"""One for each copy: they begin with different scripts."""


def assert_tells_the_story(
    vector: MultiAgentVector,
    scripts: Sequence[Script],
    seeds: Sequence[int],
    *,
    num_steps: int,
    tells_rewards_at_turns: bool = False,
) -> None:
    """Step a vector and compare all that it shows with the story.

    With `tells_rewards_at_turns` an agent's rewards come together when its next turn, or its end, has come.
    """
    tellers = [StoryTeller(scripts) for _ in seeds]
    moments = [teller.begin(seed) for teller, seed in zip(tellers, seeds, strict=True)]
    held: list[dict[str, float]] = [defaultdict(float) for _ in seeds]
    step = vector.reset(seeds)
    for copy, (teller, moment) in enumerate(zip(tellers, moments, strict=True)):
        _assert_shown(vector, step, copy, teller, moment)
        assert not np.any([step.terminated.any(), step.truncated.any(), step.over.any()])
    for number in range(num_steps):
        chosen = [
            {agent: _action(vector, agent, number, copy) for agent in moment.acting}
            for copy, moment in enumerate(moments)
        ]
        step = vector.step(_columns(vector, chosen))
        num_over = 0
        for copy, teller in enumerate(tellers):
            moment = teller.go_on(chosen[copy])
            _assert_ends(vector, step, copy, teller, moment)
            if moment.over and moment.cuts_off and step.states is not None:
                assert step.last_states is not None
                np.testing.assert_array_equal(step.last_states[num_over], teller.state())
            moments[copy] = teller.begin(None) if moment.over else moment
            num_over += moment.over
            rewards = moment.rewards
            if tells_rewards_at_turns:
                rewards = _told(held[copy], moment)
            told = {agent: rewards.get(agent, 0.0) for agent in teller.agents}
            assert dict(zip(vector.agents, step.rewards[copy].tolist(), strict=True)) == told
            _assert_shown(vector, step, copy, teller, moments[copy])
        assert step.last_states is None or len(step.last_states) == num_over


@contextmanager
def open_vector(vector: MultiAgentVector) -> Iterator[MultiAgentVector]:
    """Close it afterwards."""
    with closing(vector):
        yield vector


class MultiAgentVectorConformance:
    """The suite."""

    ways: tuple[Way, ...] = ("at once", "in turns", "freely")
    """How agents may act in the environments that are made."""
    tells_rewards_at_turns = False

    def make_vector(self, scripts: Sequence[Script], num_envs: int) -> MultiAgentVector:
        """Make the vector under test."""
        raise NotImplementedError

    def assert_tells(self, scripts: Sequence[Script], *, num_steps: int = 16) -> None:
        """Compare a vector of three copies with the story."""
        with open_vector(self.make_vector(scripts, len(SEEDS))) as vector:
            assert_tells_the_story(
                vector,
                scripts,
                SEEDS,
                num_steps=num_steps,
                tells_rewards_at_turns=self.tells_rewards_at_turns,
            )

    @classmethod
    def situations(cls) -> dict[str, Situation]:
        """Return what can happen in the environments that are made."""
        return {name: each for name, each in SITUATIONS.items() if set(each.ways) & set(cls.ways)}

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Try every situation that is possible."""
        if "situation" in metafunc.fixturenames:
            cases = cls.situations()
            metafunc.parametrize("situation", cases.values(), ids=cases)

    def test_what_happens_is_told(self, situation: Situation) -> None:
        self.assert_tells(situation.scripts)

    def test_copies_tell_different_stories_at_the_same_time(self) -> None:
        scripts = [
            script
            for situation in self.situations().values()
            if situation.agents == ("red_0", "red_1", "blue_0")
            for script in situation.scripts
        ]
        assert len(scripts) >= len(SEEDS)
        self.assert_tells(scripts, num_steps=40)

    def test_a_reset_begins_with_the_first_script_of_its_seed_again(self) -> None:
        scripts = next(iter(self.situations().values())).scripts
        with open_vector(self.make_vector(scripts, len(SEEDS))) as vector:
            for _ in range(2):
                late = self.tells_rewards_at_turns
                assert_tells_the_story(vector, scripts, SEEDS, num_steps=4, tells_rewards_at_turns=late)

    def test_agents_with_equal_spaces_form_a_group(self) -> None:
        scripts = SITUATIONS["everybody ends at once"].scripts
        with open_vector(self.make_vector(scripts, 2)) as vector:
            assert list(vector.agents) == ["red_0", "red_1", "blue_0"]
            assert [group.slots.tolist() for group in vector.groups] == [[0, 1], [2]]
            assert vector.num_envs == 2

    def test_closing_twice_does_nothing(self) -> None:
        vector = self.make_vector(SITUATIONS["everybody ends at once"].scripts, 1)
        vector.close()
        vector.close()


def seen_by(vector: MultiAgentVector, columns: Sequence[Any], agent: str, copy: int) -> dict[str, Any]:
    """Return the leaves of what one agent sees, as lists."""
    group, member = place_of(vector, agent)
    return {path: column[copy, member].tolist() for path, column in columns[group].items()}


def leaves_of(observation: Any) -> dict[str, Any]:
    """Return the leaves of what a teller shows, as lists."""
    if isinstance(observation, Mapping):
        return {f"/{name}": leaf.tolist() for name, leaf in observation.items()}
    return {"": observation.tolist()}


def place_of(vector: MultiAgentVector, agent: str) -> tuple[int, int]:
    """Return the group of an agent, and where it is in that."""
    slot = list(vector.agents).index(agent)
    for index, group in enumerate(vector.groups):
        if slot in group.slots:
            return index, group.slots.tolist().index(slot)
    raise AssertionError(f"{agent} is in no group")


def _assert_shown(
    vector: MultiAgentVector, step: MultiAgentStep, copy: int, teller: StoryTeller, moment: Moment
) -> None:
    """Compare who acts next and what they see, and the global state."""
    acting = [agent for agent, acts in zip(vector.agents, step.acting[copy], strict=True) if acts]
    assert acting == list(moment.acting)
    for agent in acting:
        assert seen_by(vector, step.observations, agent, copy) == leaves_of(teller.observe(agent)), agent
    if vector.state_space is not None:
        assert step.states is not None
        np.testing.assert_array_equal(step.states[copy], teller.state())


def _assert_ends(
    vector: MultiAgentVector, step: MultiAgentStep, copy: int, teller: StoryTeller, moment: Moment
) -> None:
    """Compare who ended, how, and what those saw last who were cut off."""
    ends = {**moment.ends, **dict.fromkeys(moment.cut, moment.all_end)}
    for slot, agent in enumerate(vector.agents):
        told: Literal["", "T", "X", "B"] = ""
        if step.terminated[copy, slot] or step.truncated[copy, slot]:
            both = bool(step.terminated[copy, slot] and step.truncated[copy, slot])
            told = "B" if both else "T" if step.terminated[copy, slot] else "X"
        assert told == ends.get(agent, ""), agent
        group, member = place_of(vector, agent)
        last = step.last[group]
        (kept,) = np.nonzero((last.environments == copy) & (last.members == member))
        assert len(kept) == (told in {"X", "B"}), agent
        for row in kept:
            told_last = {path: column[row].tolist() for path, column in last.observations.items()}
            assert told_last == leaves_of(teller.observe(agent)), agent
    assert bool(step.over[copy]) is moment.over


def _told(held: dict[str, float], moment: Moment) -> dict[str, float]:
    """Hold rewards back until the agent's turn or end has come."""
    for agent, reward in moment.rewards.items():
        held[agent] += reward
    now = list(held) if moment.over else [*moment.acting, *moment.ends]
    return {agent: held.pop(agent) for agent in now if agent in held}


def _action(vector: MultiAgentVector, agent: str, number: int, copy: int) -> NDArray[Any]:
    """Choose another action for each step, agent and copy."""
    mixed = 3 * number + 2 * list(vector.agents).index(agent) + copy
    return np.array([mixed % 3, mixed % 2]) if agent.startswith("blue") else np.array(mixed % 5)


def _columns(
    vector: MultiAgentVector, chosen: Sequence[Mapping[str, NDArray[Any]]]
) -> list[dict[str, NDArray[Any]]]:
    """Put actions where the vector looks for them; whoever has no turn does something that shows."""
    columns = []
    for group in vector.groups:
        shape = group.action_space.shape or ()
        column = np.ones((vector.num_envs, len(group.slots), *shape), np.int64)
        for copy, actions in enumerate(chosen):
            for member, slot in enumerate(group.slots.tolist()):
                if vector.agents[slot] in actions:
                    column[copy, member] = actions[vector.agents[slot]]
        columns.append({"": column})
    return columns
