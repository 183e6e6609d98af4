"""Two agents in one copy: the first acts, and what it does may end the game before the second's turn."""

from __future__ import annotations

import numpy as np
import pytest

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.sampling.episode_totals import EpisodeTotals
from outrider.envrunner.sampling.step_planes import StepPlanes


class Table:
    """One step is a fragment."""

    def __init__(self) -> None:
        self._totals = EpisodeTotals(1, 2)

    def play(
        self, acting: tuple[bool, bool], rewards: tuple[float, float], *, over: bool
    ) -> list[tuple[int, float, int]]:
        """Return the agents, returns and lengths of the episodes that ended."""
        planes = StepPlanes(1, 1, 2)
        planes.begin(np.array([acting]))
        planes.write(
            0,
            MultiAgentStep(
                observations=[],
                acting=np.zeros((1, 2), np.bool_),
                rewards=np.array([rewards], np.float32),
                terminated=np.array([acting]) & over,
                truncated=np.zeros((1, 2), np.bool_),
                over=np.array([over]),
                last=[],
            ),
        )
        agents, _ = self._totals.add(planes)
        columns = (agents.places, agents.returns, agents.lengths)
        return list(zip(*(column.tolist() for column in columns), strict=True))


def test_who_wins_without_a_turn_has_won() -> None:
    assert Table().play((True, False), (-1.0, 1.0), over=True) == [(0, -1.0, 1), (1, 1.0, 0)]


def test_who_had_no_turn_and_got_nothing_took_no_part() -> None:
    assert Table().play((True, False), (-1.0, 0.0), over=True) == [(0, -1.0, 1)]


def test_what_came_in_several_fragments_counts_together() -> None:
    table = Table()
    assert table.play((True, False), (0.0, 2.0), over=False) == []
    assert table.play((True, False), (1.0, 3.0), over=True) == [(0, 1.0, 2), (1, 5.0, 0)]


@pytest.mark.parametrize("before", [(False, True), (True, True)])
def test_a_turn_in_a_fragment_before_is_remembered(before: tuple[bool, bool]) -> None:
    table = Table()
    table.play(before, (0.0, 2.0), over=False)
    assert table.play((True, False), (1.0, 3.0), over=True) == [(0, 1.0, 1 + before[0])]


def test_after_a_step_of_all_what_comes_without_a_turn_is_that_of_its_own_episode() -> None:
    table = Table()
    table.play((False, False), (0.0, 7.0), over=False)
    assert table.play((True, True), (1.0, 1.0), over=True) == [(0, 1.0, 1), (1, 8.0, 1)]
    assert table.play((True, False), (-1.0, 1.0), over=True) == [(0, -1.0, 1), (1, 1.0, 0)]


def test_a_checkpoint_knows_who_had_a_turn() -> None:
    before, after = Table(), Table()
    before.play((True, False), (0.0, 2.0), over=False)
    after._totals.set_state(before._totals.get_state())
    assert after.play((True, False), (1.0, 0.0), over=True) == [(0, 1.0, 2), (1, 2.0, 0)]
