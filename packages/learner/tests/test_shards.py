"""Streams are dealt to ranks evenly, whole and in order."""

import pytest

from outrider.learner.rows.shards import deal_streams


def test_neighbouring_streams_go_to_one_rank_and_a_fragment_may_be_cut() -> None:
    assert deal_streams([3, 2], 2) == [[(0, 0, 2)], [(0, 2, 3), (1, 0, 2)]]


@pytest.mark.parametrize(
    ("num_streams", "num_ranks"), [([1, 1, 1], 2), ([7], 3), ([2, 5, 1, 4], 4), ([3], 1)]
)
def test_every_stream_goes_to_exactly_one_rank_and_shares_differ_by_one(
    num_streams: list[int], num_ranks: int
) -> None:
    ranks = deal_streams(num_streams, num_ranks)
    dealt = [(f, stream) for shards in ranks for f, first, stop in shards for stream in range(first, stop)]
    assert dealt == [(f, stream) for f, count in enumerate(num_streams) for stream in range(count)]
    sizes = [sum(stop - first for _, first, stop in shards) for shards in ranks]
    assert max(sizes) - min(sizes) <= 1


def test_more_learners_than_streams_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 learners cannot share the 2 streams.*at most 2"):
        deal_streams([1, 1], 3)
