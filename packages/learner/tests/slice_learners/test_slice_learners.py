"""Ranks that train policies of their own in updates that are waited for, whichever dies and whenever.

Ranks are counters.
"""

from __future__ import annotations

from typing import Any

import pytest

from outrider.learner.groups.group import LearnerGroupStatistics


def test_a_rank_that_dies_in_an_update_takes_back_its_own_policies_and_makes_the_update_again(
    waiting: Any,
) -> None:
    waiting.learn(1, 2)
    before = waiting.group.publish()
    waiting.ranks.deaths[1, "update"] = 0
    waiting.learn(4)
    assert waiting.sums() == {0: 7.0, 1: 4.0, 2: 7.0, 3: 4.0}
    assert all(waiting.group.publish().sums[policy][0] > before.version for policy in (1, 3))
    assert (waiting.group.statistics().num_restarts, waiting.group.statistics().num_lost_updates) == (1, 2)
    waiting.learn(8)
    assert waiting.sums() == {0: 15.0, 1: 12.0, 2: 15.0, 3: 12.0}
    assert waiting.ranks.are_in_step


@pytest.mark.parametrize("moment", ["set_state", "fetch"])
def test_a_rank_that_dies_again_before_it_has_learned_is_made_anew_again(waiting: Any, moment: str) -> None:
    waiting.learn(1, 2)
    waiting.ranks.deaths = {(1, "update"): 0, (1, moment): 0}
    waiting.learn(4)
    assert waiting.sums() == {0: 7.0, 1: 4.0, 2: 7.0, 3: 4.0}
    assert waiting.ranks.made == [1, 1]
    assert waiting.ranks.are_in_step


@pytest.mark.parametrize("moment", ["update", "count_change"])
def test_both_ranks_may_die_in_one_update(waiting: Any, moment: str) -> None:
    waiting.learn(1, 2)
    before = waiting.group.publish().version
    waiting.ranks.deaths = {(1, "update"): 0, (0, moment): 0}
    waiting.learn(4)
    assert waiting.sums() == {0: 4.0, 1: 4.0, 2: 4.0, 3: 4.0}
    assert sorted(waiting.ranks.made) == [0, 1]
    assert min(version for version, _ in waiting.group.publish().sums.values()) > before
    assert waiting.ranks.are_in_step


@pytest.mark.parametrize("dying", [(0, "add_policy"), (1, "count_change"), (0, "get_state")])
def test_a_policy_that_is_added_is_there_whoever_dies_meanwhile(waiting: Any, dying: tuple[int, str]) -> None:
    waiting.learn(1)
    waiting.ranks.deaths[dying] = 0
    waiting.add_policy()
    waiting.learn(2)
    assert waiting.sums()[4] == 2.0
    assert waiting.sums()[3 - dying[0]] == 3.0  # of the other rank
    assert waiting.ranks.are_in_step
    waiting.ranks.deaths[0, "update"] = 0
    waiting.learn(4)
    assert waiting.sums()[4] == 4.0  # gone back to when it was added


def test_a_fragment_that_went_with_its_node_is_left_out_and_counted_once_and_every_rank_lives(
    waiting: Any,
) -> None:
    waiting.ranks.lost = {2}
    waiting.learn_at_once(1, 2)
    assert waiting.sums() == dict.fromkeys(range(4), 1.0)
    assert waiting.group.statistics() == LearnerGroupStatistics(num_lost_rows=10)
    assert waiting.ranks.made == []
    assert waiting.ranks.are_in_step


def test_a_rank_that_dies_where_a_fragment_went_with_its_node_learns_from_the_others(waiting: Any) -> None:
    waiting.ranks.lost, waiting.ranks.deaths[1, "update"] = {2}, 1
    waiting.learn_at_once(1, 2)
    assert waiting.sums() == dict.fromkeys(range(4), 1.0)
    assert (waiting.group.statistics().num_lost_rows, waiting.ranks.made) == (10, [1])
    assert waiting.ranks.are_in_step


def test_a_snapshot_is_what_a_rank_goes_back_to(with_snapshots: Any) -> None:
    with_snapshots.learn(1, 2, 4)  # asked for after the second, kept after the third
    with_snapshots.ranks.deaths[1, "update"] = 0
    with_snapshots.learn(8)
    assert with_snapshots.sums()[1] == 1 + 2 + 8
    assert with_snapshots.group.statistics().num_lost_updates == 1
