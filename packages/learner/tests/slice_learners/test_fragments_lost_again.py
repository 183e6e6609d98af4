"""A fragment that is found wherever it is looked for, and lost whenever it is needed, ends in a sentence."""

from __future__ import annotations

from typing import Any

import pytest


def test_a_fragment_that_is_found_and_lost_again_is_not_looked_for_without_end(either: Any) -> None:
    either.ranks.flickering = {2: 1000}
    sentence = r"11 times in a row.*found again; max_learner_restarts=10 allows no more"
    with pytest.raises(RuntimeError, match=sentence):
        either.learn_all(1, 2)
    assert either.group.statistics().num_lost_rows == 0


def test_a_fragment_that_is_found_and_stays_is_learned_from_by_ranks_made_anew(either: Any) -> None:
    either.ranks.flickering = {2: 3}
    either.learn_all(2)
    assert sorted(either.ranks.made) == [0, 0, 1]
    assert either.sums() == dict.fromkeys(range(4), 2.0)
    assert either.group.statistics().num_lost_rows == 0
    assert either.ranks.are_in_step


def test_who_lacks_what_another_rank_lacked_before_is_not_lost(either: Any) -> None:
    either.ranks.lost = {1, 2}
    either.learn_all(1, 2, 4)
    assert either.ranks.made == []
    assert either.sums() == dict.fromkeys(range(4), 4.0)
    assert either.group.statistics().num_lost_rows == 20
