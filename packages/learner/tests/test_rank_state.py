"""A group's state holds what its ranks have alike once, and fits any number of ranks."""

from typing import Any

import numpy as np
import pytest

from outrider.learner import TrainingDivergedError
from outrider.learner.groups.rank_error import LostRankError, error_message, read_error
from outrider.learner.plans.rank_state import copied, digests, for_all, join_ranks, own_part, part_for


def rank_state(seed: int) -> dict[str, Any]:
    return {"module": {"w": np.arange(6.0).reshape(2, 3)}, "generator": np.array([seed]), "num_updates": 4}


def test_what_ranks_have_alike_is_kept_once() -> None:
    assert own_part(rank_state(1), digests(rank_state(0))) == {"generator": np.array([1])}


@pytest.mark.parametrize(
    "changed", [np.arange(6.0).reshape(3, 2), np.arange(6), np.array([0.0, 1, 2, 3, 4, 6])]
)
def test_arrays_of_another_shape_dtype_or_value_differ(changed: Any) -> None:
    assert "module" in own_part({"module": {"w": changed}}, digests(rank_state(0)))


def test_every_rank_gets_its_own_part_back_and_ranks_without_one_that_of_rank_0() -> None:
    parts = [own_part(rank_state(rank), digests(rank_state(0))) for rank in (1, 2)]
    state = join_ranks(rank_state(0), parts)
    generators = [int((for_all(state) | part_for(state, rank))["generator"][0]) for rank in range(4)]
    assert generators == [0, 1, 2, 0]
    assert for_all(state).keys() == rank_state(0).keys()


def test_the_state_of_one_rank_is_that_of_a_learner_alone() -> None:
    state = rank_state(0)
    assert join_ranks(state, []) is state


def test_a_copy_shares_no_memory() -> None:
    state = {"list": [np.zeros(2)], "name": "x"}
    copy = copied(state)
    assert not np.shares_memory(copy["list"][0], state["list"][0])
    assert copy["name"] == "x"


@pytest.mark.parametrize("kind", [ValueError, LostRankError, TrainingDivergedError])
def test_an_error_comes_back_as_what_it_was_with_its_traceback(kind: type[Exception]) -> None:
    def fail_far_away() -> None:
        raise kind("7 is too much; give 6")

    with pytest.raises(kind) as there:
        fail_far_away()
    here = read_error(error_message(there.value), "learner 1")
    assert type(here) is kind
    assert str(here) == "7 is too much; give 6"
    assert "raised in learner 1" in here.__notes__[0]
    assert "fail_far_away" in here.__notes__[0]


def test_an_error_of_an_unknown_kind_is_named() -> None:
    error = read_error({"error": "LinAlgError", "text": "singular", "traceback": ""}, "learner 0")
    assert type(error) is RuntimeError
    assert str(error) == "LinAlgError: singular"
