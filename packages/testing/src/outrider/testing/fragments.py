"""Compares fragments."""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from outrider.wire import Fragment, SamplingStatistics, Streams


def assert_same_fragment(left: Fragment, right: Fragment) -> None:
    """Assert that two fragments hold the same bits, time taken apart."""
    _assert_same(left, right, "fragment")


def _assert_same(left: Any, right: Any, name: str) -> None:
    if isinstance(left, SamplingStatistics):
        return
    if isinstance(left, Mapping):
        assert left.keys() == right.keys(), name
        for key in left:
            _assert_same(left[key], right[key], f"{name}[{key!r}]")
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)
    elif isinstance(left, tuple):
        assert len(left) == len(right), name
        for place, (mine, other) in enumerate(zip(left, right, strict=True)):
            _assert_same(mine, other, f"{name}[{place}]")
    elif left is None:
        assert right is None, name
    else:
        for each in fields(left):
            _assert_same(getattr(left, each.name), getattr(right, each.name), f"{name}.{each.name}")


def assert_well_formed(fragment: Fragment) -> None:
    """Assert what `outrider.wire.Fragment` promises of every fragment."""
    num_rows, streams = fragment.num_rows, fragment.streams
    assert streams.lengths.sum() == num_rows
    assert (streams.lengths > 0).all()
    columns = [*fragment.observations.values(), *fragment.actions.values()]
    columns += [fragment.terminated, fragment.truncated, fragment.action_log_probs]
    assert {len(column) for column in columns} == {num_rows}
    assert fragment.next_rows.tolist() == _rows_not_followed(fragment, streams)
    assert {len(column) for column in fragment.next_observations.values()} == {len(fragment.next_rows)}
    assert len(fragment.policy_version) in {1, num_rows}
    assert np.isfinite(fragment.rewards).all()


def assert_goes_on(before: Fragment, after: Fragment) -> None:
    """Assert that one fragment goes on where the other ended, all of whose streams are in both."""
    ends = np.cumsum(before.streams.lengths) - 1
    starts = np.cumsum(after.streams.lengths) - after.streams.lengths
    for end, start in zip(ends.tolist(), starts.tolist(), strict=True):
        if not (before.terminated[end] or before.truncated[end]):
            (at,) = np.flatnonzero(before.next_rows == end)
            np.testing.assert_array_equal(before.next_observations[""][at], after.observations[""][start])


def _rows_not_followed(fragment: Fragment, streams: Streams) -> list[int]:
    """Rows that the next row does not follow and that did not terminate."""
    not_followed = fragment.truncated.copy()
    not_followed[np.cumsum(streams.lengths) - 1] = True
    rows: list[int] = np.flatnonzero(not_followed & ~fragment.terminated).tolist()
    return rows
