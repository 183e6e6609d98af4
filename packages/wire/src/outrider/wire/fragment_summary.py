"""What a training loop knows of a fragment that it hands on without reading it."""

from __future__ import annotations

from dataclasses import dataclass

from outrider.wire.fragment import EpisodeStatistics, Fragment, SamplingStatistics


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentSummary:
    """Counts and statistics of one fragment. A few hundred bytes, whatever the fragment's size."""

    num_rows: int
    """Transitions."""
    num_streams: int
    policy_version: int
    """The oldest version that acted; 0 where there are no rows."""
    episodes: EpisodeStatistics
    statistics: SamplingStatistics


def summarise(fragment: Fragment) -> FragmentSummary:
    """Return what a training loop needs to know of `fragment`."""
    return FragmentSummary(
        num_rows=fragment.num_rows,
        num_streams=len(fragment.streams.lengths),
        policy_version=int(fragment.policy_version.min()) if fragment.num_rows else 0,
        episodes=fragment.episodes,
        statistics=fragment.statistics,
    )
