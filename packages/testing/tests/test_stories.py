"""Scripts say what happens, impossible ones are refused, and broken vectors and runners are found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.testing.agent_script import Cell, Script, possible_script, read_script
from outrider.testing.multi_agent_conformance import MultiAgentVectorConformance
from outrider.testing.situations import SITUATIONS
from outrider.testing.story_fragments import assert_recorded
from outrider.testing.story_rows import live_through
from outrider.testing.story_teller import StoryTeller
from outrider.testing.story_vector import StoryVector

LATE = """
red_0    blue_0   env
a        .
.+1      a
.+2      .-3T
a+4      .        X
"""


def test_a_teller_says_who_acts_what_they_get_and_how_they_end() -> None:
    teller = StoryTeller([read_script(LATE)])
    assert teller.begin(5).acting == ("red_0",)
    assert teller.observe("red_0").tolist() == [5, 0, 0, 0]
    moment = teller.go_on({"red_0": 2})
    assert (moment.acting, moment.rewards) == (("blue_0",), {"red_0": 0.25})
    moment = teller.go_on({"blue_0": [1, 1]})
    assert (moment.acting, moment.rewards) == ((), {"red_0": 1.0, "blue_0": 0.625})
    moment = teller.go_on({})
    assert (moment.ends, moment.over) == ({"blue_0": "T"}, False)
    assert teller.observe("red_0").tolist() == [5, 0, 0, 3]
    moment = teller.go_on({"red_0": 0})
    assert (moment.over, moment.all_end, moment.cut) == (True, "X", ("red_0",))


def test_late_rewards_are_of_the_action_before() -> None:
    seen = live_through([read_script(LATE)], seed=0, environment=0, num_steps=4, steps_of_a_version=10)
    rows = sorted((row.began, row.finished, row.agent) for row in seen.transitions)
    assert rows == [(0, 2, "red_0"), (1, 2, "blue_0"), (3, 3, "red_0")]
    by_start = {row.began: row for row in seen.transitions}
    assert by_start[0].reward == 1 + 2 + 0.125 * by_start[0].action[0]
    assert by_start[3].truncated
    assert by_start[1].terminated
    assert [(at, length) for at, _, length in seen.environments] == [(3, 4)]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("red_0 env\n.", "nobody acts"),
        ("red_0 env\na\n.T\na T", "right after its end"),
        ("red_0 red_1 env\na .T T", "takes no part"),
        ("red_0 env\na", "left at the end"),
        ("red_0 env\nb T", "means nothing"),
    ],
)
def test_what_cannot_happen_is_refused(table: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_script(table)


def test_any_cells_make_a_possible_script() -> None:
    rng = np.random.default_rng(0)
    for way in ("at once", "in turns", "freely"):
        for _ in range(50):
            rows = [
                [
                    Cell(bool(rng.integers(2)), int(rng.integers(-2, 3)), str(rng.choice(["", "T"])))
                    for _ in "abc"
                ]
                for _ in range(5)
            ]
            script = possible_script(rows, ("red_0", "red_1", "blue_0"), end="", way=way)
            counts = [sum(cell.acts for cell in line.values()) for line in script.lines]
            assert way != "in turns" or set(counts) == {1}


class Broken(StoryVector):
    """Tells something else than what happened."""

    def __init__(self, scripts: Sequence[Script], *, num_envs: int, how: str) -> None:
        super().__init__(scripts, num_envs=num_envs)
        self._how = how
        self._before: MultiAgentStep | None = None

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        step = super().step(actions)
        match self._how:
            case "rewards of another":
                return replace(step, rewards=np.roll(step.rewards, 1, 1))
            case "ends merged":
                return replace(step, terminated=step.terminated | step.truncated)
            case "ends of another copy":
                return replace(step, over=np.roll(step.over, 1), terminated=np.roll(step.terminated, 1, 0))
            case "states of another copy":
                assert step.states is not None
                return replace(step, states=np.roll(step.states, 1, 0))
            case _:
                return replace(
                    step,
                    observations=[{p: np.roll(c, 1, 0) for p, c in g.items()} for g in step.observations],
                )


HOW = ["rewards of another", "ends merged", "ends of another copy", "states of another copy", "observations"]


@pytest.mark.parametrize("how", HOW)
def test_a_broken_vector_fails(how: str) -> None:
    class Suite(MultiAgentVectorConformance):
        def make_vector(self, scripts: Sequence[Script], num_envs: int) -> MultiAgentVector:
            return Broken(scripts, num_envs=num_envs, how=how)

    with pytest.raises(AssertionError):
        Suite().test_copies_tell_different_stories_at_the_same_time()


@pytest.mark.parametrize(
    "how", ["rewards of another", "ends merged", "states of another copy", "observations"]
)
def test_fragments_of_what_did_not_happen_fail(how: str) -> None:
    scripts = SITUATIONS["agents end each in its own way"].scripts
    with pytest.raises(AssertionError):
        assert_recorded(lambda: Broken(scripts, num_envs=2, how=how), scripts, num_steps=5, num_fragments=2)
