"""Ranks that train policies of their own without pause, whichever dies and whenever; ranks are counters."""

from __future__ import annotations

import time
from typing import Any

import pytest


def test_the_group_has_learned_what_the_slowest_rank_has_and_lets_no_more_wait(busy: Any) -> None:
    assert busy.group.room == 3
    busy.put(1, 2, 4)
    assert busy.group.room == 0
    reports = [report for _ in range(6) for report in busy.group.reports(0.0)]
    assert [report.num_updates for report in reports] == [1, 1, 1]
    assert [report.weights.version for report in reports] == [1, 2, 3]
    assert busy.group.room == 3
    assert busy.sums() == dict.fromkeys(range(4), 7.0)


def test_a_rank_that_dies_gets_again_what_it_had_not_learned_from_and_the_other_goes_on(busy: Any) -> None:
    busy.put(1)
    busy.group.get_state()
    before = busy.group.publish().version
    busy.put(2, 4)
    busy.ranks.ranks[1].is_alive = False
    state = busy.group.get_state()
    reports = busy.group.reports(0.0)
    assert sum(report.num_updates for report in reports) == 3
    assert sum(report.num_restarts for report in reports) == 1
    learned = state["stacks"]["s"]
    assert learned["numbers"].tolist() == [0, 1, 2, 3]
    assert learned["learner"]["sum"].tolist() == [7.0, 6.0, 7.0, 6.0]
    assert all(busy.group.publish().sums[policy][0] > before for policy in (1, 3))
    assert busy.ranks.are_in_step


def test_ranks_that_train_by_themselves_leave_out_and_count_once_what_went_with_its_node(busy: Any) -> None:
    busy.ranks.lost = {2}
    busy.put(1, 2, 4)
    busy.group.get_state()
    reports = busy.group.reports(0.0)
    assert sum(report.num_updates for report in reports) == 3
    assert sum(report.num_lost_rows for report in reports) == 10
    assert busy.sums() == dict.fromkeys(range(4), 5.0)
    assert busy.ranks.made == []
    assert busy.ranks.are_in_step


def test_a_fast_rank_that_dies_is_not_handed_again_what_it_had_learned_from(busy: Any) -> None:
    busy.put(1, 2, 4)
    busy.ranks.slow = {1}
    assert busy.group.reports(0.0) == []
    busy.ranks.slow = set()
    assert [report.num_updates for report in busy.group.reports(0.0)] == [1]
    assert busy.group.room == 1
    busy.ranks.ranks[0].is_alive = False
    stack = busy.group.get_state()["stacks"]["s"]
    assert stack["learner"]["sum"].tolist() == [0.0, 7.0, 0.0, 7.0]
    assert busy.group.statistics().num_lost_updates == 3
    assert busy.ranks.are_in_step


@pytest.mark.parametrize("dying", [(1, "count_change"), (0, "state_after_all"), (0, "publish")])
def test_policies_change_after_all_that_was_put_and_stay_where_a_rank_dies(
    busy: Any, dying: tuple[int, str]
) -> None:
    busy.put(1, 2)
    busy.group.get_state()
    busy.ranks.deaths[dying] = 0
    busy.add_policy()
    assert busy.group.publish().sums[4][1] == 0.0
    assert busy.ranks.are_in_step
    busy.put(4)
    busy.group.get_state()
    assert busy.sums()[4] == 4.0
    assert busy.sums()[1 - dying[0]] == 7.0  # of the other rank
    assert busy.ranks.are_in_step


def test_a_rank_that_takes_long_to_come_back_does_not_end_a_wait_for_all_that_was_put(
    busy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, make_anew = 0.0, busy.ranks.make_anew

    def make_slowly(rank: int) -> None:
        nonlocal now_s
        now_s += 1000.0  # longer than an update may take
        make_anew(rank)

    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    busy.ranks.make_anew = make_slowly
    busy.put(1, 2)
    busy.ranks.ranks[1].is_alive = False
    assert busy.group.get_state()["stacks"]["s"]["learner"]["sum"].tolist() == [3.0] * 4
