"""Summaries of fragments to and from bytes."""

from __future__ import annotations

from outrider.wire.episode_statistics_codec import (
    check_episode_statistics,
    read_episode_statistics,
    write_episode_statistics,
)
from outrider.wire.fragment_summary import FragmentSummary
from outrider.wire.frame import Bytes
from outrider.wire.limits import Limits
from outrider.wire.sampling_statistics_codec import (
    check_sampling_statistics,
    read_sampling_statistics,
    write_sampling_statistics,
)
from outrider.wire.v1 import fragment_summary_pb2
from outrider.wire.wire_error import WireError, reading

_MAX_VERSION = 2**63 - 1


def encode_fragment_summary(summary: FragmentSummary) -> bytes:
    """Write a summary. Raises ValueError for one that belongs to no fragment."""
    _check(summary)
    message = fragment_summary_pb2.FragmentSummary(
        num_rows=summary.num_rows, num_streams=summary.num_streams, policy_version=summary.policy_version
    )
    if len(summary.episodes.lengths) or summary.episodes.agents is not None:
        write_episode_statistics(message.episodes, summary.episodes)
    write_sampling_statistics(message.statistics, summary.statistics)
    return bytes(message.SerializeToString())


def decode_fragment_summary(message: Bytes, limits: Limits = Limits()) -> FragmentSummary:  # noqa: B008
    """Read a summary. Raises WireError."""
    with reading("summary of a fragment"):
        limits.check("max_header_bytes", len(message))
        parsed = fragment_summary_pb2.FragmentSummary.FromString(bytes(message))
        limits.check("max_rows", parsed.num_rows)
        limits.check("max_streams", parsed.num_streams)
        if parsed.policy_version > _MAX_VERSION:
            raise WireError(f"policy version {parsed.policy_version}; it counts from 0 to 2**63 - 1")
        summary = FragmentSummary(
            num_rows=parsed.num_rows,
            num_streams=parsed.num_streams,
            policy_version=parsed.policy_version,
            episodes=read_episode_statistics(parsed.episodes, limits),
            statistics=read_sampling_statistics(parsed.statistics),
        )
        _check(summary)
        return summary


def _check(summary: FragmentSummary) -> None:
    rows, streams = summary.num_rows, summary.num_streams
    if not 0 <= streams <= rows or (rows and not streams):
        raise ValueError(f"{rows} rows in {streams} streams; a stream has at least 1 row, and a row a stream")
    if not 0 <= summary.policy_version <= _MAX_VERSION:
        raise ValueError(f"policy version {summary.policy_version}; it counts from 0 to 2**63 - 1")
    check_episode_statistics(summary.episodes)
    check_sampling_statistics(summary.statistics)
