"""What a training loop knows of a fragment that it hands on without reading it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from outrider.wire.fragment import (
    AgentEpisodes,
    EpisodeStatistics,
    Fragment,
    SamplingStatistics,
    all_parts,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentSummary:
    """Counts and statistics of one fragment, its others among them.

    A few hundred bytes, whatever the fragment's size, and thirteen or so for each agent's episode.
    """

    num_rows: int
    """Transitions of all policies."""
    num_streams: int
    """Of all policies."""
    policy_version: int
    """The oldest version that acted; 0 where there are no rows."""
    episodes: EpisodeStatistics
    """Among them those of all agents: first of the fragment itself, then of its others."""
    statistics: SamplingStatistics


def summarise(fragment: Fragment) -> FragmentSummary:
    """Return what a training loop needs to know of `fragment`."""
    parts = all_parts(fragment)
    versions = [int(part.policy_version.min()) for part in parts if part.num_rows]
    return FragmentSummary(
        num_rows=sum([part.num_rows for part in parts]),
        num_streams=sum([len(part.streams.lengths) for part in parts]),
        policy_version=min(versions, default=0),
        episodes=_all_episodes(fragment) if fragment.others else fragment.episodes,
        statistics=fragment.statistics,
    )


def _all_episodes(fragment: Fragment) -> EpisodeStatistics:
    agents = [part.episodes.agents for part in all_parts(fragment) if part.episodes.agents is not None]
    if not agents:
        return fragment.episodes
    joined = {
        field.name: np.concatenate([getattr(each, field.name) for each in agents])
        for field in fields(AgentEpisodes)
    }
    return replace(fragment.episodes, agents=AgentEpisodes(**joined))
