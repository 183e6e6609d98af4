"""What ranks share out, and what of theirs makes the whole."""

import numpy as np
import pytest

from outrider.learner.plans.sharing import SHARED_POLICIES, SHARED_ROWS
from outrider.learner.rows.shards import Shard


def test_rows_are_dealt_to_ranks_and_all_rows_are_handed_to_ranks_that_have_policies() -> None:
    assert SHARED_ROWS.deal([3, 2], 2) == [[Shard(0, 0, 2)], [Shard(0, 2, 3), Shard(1, 0, 2)]]
    assert SHARED_POLICIES.deal([3, 2], 2) == [[Shard(0, 0, 3), Shard(1, 0, 2)]] * 2


def test_fewer_streams_than_ranks_are_enough_only_for_ranks_that_have_policies() -> None:
    assert SHARED_ROWS.min_num_streams(3) == 3
    assert SHARED_POLICIES.min_num_streams(3) == 1
    with pytest.raises(ValueError, match="3 learners cannot share the 1 streams"):
        SHARED_ROWS.deal([1], 3)
    assert SHARED_POLICIES.deal([1], 3) == [[Shard(0, 0, 1)]] * 3


def test_rank_0_knows_the_whole_unless_ranks_have_policies() -> None:
    assert list(SHARED_ROWS.holders(3)) == [0]
    assert list(SHARED_POLICIES.holders(3)) == [0, 1, 2]


def test_metrics_of_ranks_that_have_policies_are_means_over_rows_and_the_longest_times() -> None:
    parts = [
        {"num_env_steps_trained": 30.0, "entropy": 1.0, "train_s": 3.0},
        {},
        {"num_env_steps_trained": 10.0, "entropy": 5.0, "train_s": 4.0},
    ]
    joined = SHARED_POLICIES.join_metrics(parts)
    assert joined == {"num_env_steps_trained": 40.0, "entropy": 2.0, "train_s": 4.0}
    assert SHARED_POLICIES.join_metrics([{}, {}]) == {}
    assert SHARED_ROWS.join_metrics(parts[:1]) == parts[0]


def test_a_state_of_all_policies_is_dealt_to_those_who_have_them() -> None:
    numbers = np.arange(3)
    state = {
        "version": 5,
        "frozen": [1, 2],
        "removed": [3],
        "stacks": {"s": {"numbers": numbers, "learner": {"weight": 10 * numbers}}},
    }
    common, parts = SHARED_POLICIES.deal_state(state, 2)
    assert common == {}
    assert [part["frozen"] for part in parts] == [[2], [1]]
    assert [part["stacks"]["s"]["learner"]["weight"].tolist() for part in parts] == [[0, 20], [10]]
    joined = SHARED_POLICIES.join_states(parts)
    assert joined["stacks"]["s"]["learner"]["weight"].tolist() == [0, 10, 20]
