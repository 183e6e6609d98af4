"""Learners as a training loop sees them, one or many, here or elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from outrider.learner.learner import Learner, StateTree
from outrider.transport import FragmentReference, LocalWeights, WeightsReference
from outrider.wire import Fragment

R = TypeVar("R")
_LOGGER = logging.getLogger("outrider.learner")


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerGroupStatistics:
    """What happened to the learners of a group since it was made."""

    num_restarts: int = 0
    """How often they were made anew because a rank died."""
    num_lost_updates: int = 0
    """Updates that were undone because they then went on from an earlier state."""
    num_lost_rows: int = 0
    """Rows that were to be trained on and went with the node that held them."""


class LearnerGroup(Protocol):
    """Learners that a training loop waits for (PPO)."""

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        """Train on `fragments` and return metrics (see `outrider.learner.metrics`); blocks until done.

        Metrics are empty where nothing was trained on, because the fragments were lost meanwhile.
        """
        ...

    def publish(self) -> WeightsReference:
        """Return the newest weights; the same version again when nothing was trained in between."""
        ...

    def statistics(self) -> LearnerGroupStatistics:
        """Return the counts so far."""
        ...

    def get_state(self) -> StateTree:
        """Copy everything from which training goes on exactly as if it had never stopped.

        Learners that are found lost are made anew first; `publish` then returns newer weights.
        """
        ...

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned; raises ValueError when it does not fit."""
        ...

    def close(self) -> None:
        """Stop all learners. Closing twice does nothing."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateReport:
    """What learners did since the report before."""

    num_updates: int
    """Updates that this report sums up, at least 1."""
    num_rows: int
    """Rows that came in fresh for these updates, over all ranks; replayed ones are not counted again."""
    metrics: Mapping[str, float]
    """Of the newest update (see `outrider.learner.metrics`)."""
    weights: WeightsReference
    """After the newest update."""
    staleness: Mapping[int, int]
    """Number of fragments by how many versions older than the learner they were when it took them."""
    num_stale_rows: int
    """Rows that were thrown away because they were older than the bound."""
    work_s: float
    """Seconds in updates, mean over ranks."""
    wait_s: float
    """Seconds in which a learner waited for fragments, mean over ranks."""
    queue_depth: float
    """Fragments that lay waiting when an update began, mean over these updates."""
    num_fragments: int = 0
    """Fragments, in the order in which they were put, that are done with: trained on, or thrown away or
    lost before the newest that was."""
    num_lost_updates: int = 0
    """Updates that were undone because a rank died and the group went on from an earlier state."""
    num_restarts: int = 0
    """How often the group was made anew because a rank died."""
    num_lost_rows: int = 0
    """Rows that were handed over and went with the node that held them."""


class AsyncLearnerGroup(Protocol):
    """Learners that train by themselves on whatever they are given (IMPALA, APPO)."""

    @property
    def room(self) -> int:
        """How many more fragments `put` takes now without the queue growing over its bound."""
        ...

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        """Hand fragments over and return at once. Fragments over `room` are an error of the caller."""
        ...

    def reports(self, timeout_s: float) -> Sequence[UpdateReport]:
        """Return what was learned since the last call, and wait up to `timeout_s` for the first report.

        Raises what a learner raised, with its traceback, whichever thread or process it ran in.
        """
        ...

    def publish(self) -> WeightsReference:
        """Return the newest weights that are known here."""
        ...

    def learn_what_was_put(self) -> None:
        """Wait until it is learned from. Then the weights that are published are those of `get_state`."""
        ...

    def get_state(self) -> StateTree:
        """Copy, after all that was put, everything that training goes on from; see `LearnerGroup`."""
        ...

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned, before the first `put`; raises ValueError."""
        ...

    def close(self) -> None:
        """Stop all learners and drop what is queued. Closing twice does nothing."""
        ...


class LocalLearnerGroup:
    """One learner in the calling process."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._num_lost_rows = 0

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        """Train. Fragments that went with the node that held them are left out and counted."""
        there, num_lost_rows = load(fragments)
        self._num_lost_rows += num_lost_rows
        return self._learner.update(there) if there or not fragments else {}

    def publish(self) -> WeightsReference:
        return LocalWeights(self._learner.publish())

    def between_updates(self, function: Callable[[], R]) -> R:
        """Call `function`, which may change the learner, while it rests; return its result."""
        return function()

    def statistics(self) -> LearnerGroupStatistics:
        return LearnerGroupStatistics(num_lost_rows=self._num_lost_rows)

    def get_state(self) -> StateTree:
        return self._learner.get_state()

    def set_state(self, state: StateTree) -> None:
        self._learner.set_state(state)

    def close(self) -> None:
        """Do nothing: there is no process to stop."""


def load(fragments: Sequence[FragmentReference]) -> tuple[list[Fragment], int]:
    """Load fragments; return those that are still there, and the rows of those that are not."""
    there: list[Fragment] = []
    num_lost_rows = 0
    for fragment in fragments:
        try:
            there.append(fragment.load())
        except (ConnectionError, TimeoutError) as error:
            num_lost_rows += fragment.summary.num_rows
            _LOGGER.warning("%d rows are lost: %s", fragment.summary.num_rows, error)
    return there, num_lost_rows
