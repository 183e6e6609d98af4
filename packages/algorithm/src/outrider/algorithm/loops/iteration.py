"""What one iteration of a training loop did, before it is added to the totals of the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outrider.envrunner import PoolStatistics
    from outrider.wire import FragmentSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerWork:
    """How learners spent an iteration. Only asynchronous ones wait, throw away and go back."""

    work_s: float
    """Seconds in updates, mean over ranks."""
    wait_s: float
    """Seconds in which a learner waited for fragments, mean over ranks."""
    num_updates: int = 1
    queue_depth: float = 0.0
    """Fragments that lay waiting when an update began, mean over updates."""
    staleness: Mapping[int, int] = field(default_factory=dict)
    """Number of fragments by how many versions older than the learner they were when it took them."""
    num_stale_rows: int = 0
    """Rows thrown away because they were older than the bound."""
    num_lost_updates: int = 0
    """Updates undone because a rank died."""
    num_lost_rows: int = 0
    """Rows that learners were given and that went with the node that held them."""
    num_restarts: int = 0
    """How often the learners were made anew since the run began."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Iteration:
    """One turn of collect, learn, publish; of an asynchronous run, a stretch of time."""

    summaries: Sequence[FragmentSummary]
    """Of the fragments that came in; each says how long its runner worked on it."""
    metrics: Mapping[str, float]
    """Of the newest update (see `outrider.learner.metrics`); empty where none was finished."""
    learners: LearnerWork
    runners: PoolStatistics
    total_s: float
    """Seconds from the beginning to the end of the iteration."""
