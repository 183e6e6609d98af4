"""Runners in other processes, as the fleet sees them: asked without waiting, answering with events.

    fleet --- ask(index, weights) ---> runner          (returns at once)
    fleet <-- events(timeout_s) -----  all runners     Ready, Sampled, Lost, ...

How messages get there (Ray's actor calls, gRPC, a Unix socket) is the implementation's own affair.
Nothing here counts, restarts or decides: that is `outrider.envrunner.fleet.roster`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from outrider.envrunner.policies.cast import Cast
from outrider.transport import FragmentReference, WeightsReference


@dataclass(frozen=True, slots=True)
class Ready:
    """A runner has made its environments and waits for requests."""

    index: int


@dataclass(frozen=True, slots=True)
class Placed:
    """The process of a runner that was started is there, and begins only now to make its environments."""

    index: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A runner that was started has found no room in time; it goes on waiting until it is stopped."""

    index: int
    reason: str
    """One sentence, which says what it waits for."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A runner has sampled the fragment that it was asked for the longest time ago."""

    index: int
    fragment: FragmentReference


@dataclass(frozen=True, slots=True)
class Lost:
    """A runner's process is gone, with everything that it was asked for. `start` makes it anew."""

    index: int
    reason: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class Left:
    """A runner has delivered all that it sampled, and is gone for good; its number can be started again."""

    index: int
    reason: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A runner raised an error that would come again: a wrong setting, an environment beyond repair."""

    index: int
    error: Exception


RunnerEvent: TypeAlias = Placed | Ready | Waiting | Sampled | Lost | Left | Failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Which runners come by themselves, from elsewhere, and what became of others that tried."""

    seats: frozenset[int] = frozenset()
    """Numbers of runners that nobody starts: an empty seat may stay empty, and one that is left is no loss.
    `start` opens it, `Waiting` says that nobody is there, `Placed` that somebody came. It never changes."""
    num_refused: int = 0
    """Peers that did not fit: another protocol, other spaces."""
    num_cut_off: int = 0
    """Peers that were sent away because they broke a rule."""
    num_duplicates: int = 0
    """Fragments that came again and were dropped."""


NOBODY = Admission()
"""For those who start all of their runners."""


class RemoteRunners(Protocol):
    """Runners number 0 to `num_runners` - 1, each in a process of its own."""

    @property
    def num_runners(self) -> int:
        """How many there can be."""
        ...

    @property
    def admission(self) -> Admission:
        """Who may come by himself; `NOBODY` where each runner is started here."""
        ...

    def start(self, index: int, *, incarnation: int) -> None:
        """Begin to make a runner and return at once; `Ready`, `Failed` or `Lost` follows.

        Before them `Waiting` may come once, where no process could be had for it so far, and `Placed`
        once, from when on it has its time to start anew.
        `incarnation` counts from 0 how often this runner was made in the whole run, so that no
        incarnation plays the episodes of an earlier one.
        """
        ...

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask a runner for a fragment and return at once; requests of one runner queue up.

        Where its process is gone and `events` has not said so yet, this does nothing: `Lost` follows.
        With `weights`, exactly these act. None: the newest ones that were offered before it begins. Raises
        LostWeightsError, once for each loss, where it is known that `weights` are gone and the runner has
        none; nothing is asked then.
        """
        ...

    def offer(self, weights: WeightsReference) -> None:
        """Give newer weights to all runners that are up, and to those made later; returns at once.

        Raises LostWeightsError for weights that are gone, where it loads them.
        """
        ...

    def events(self, timeout_s: float) -> Sequence[RunnerEvent]:
        """Return all that has happened since the last call, and wait up to `timeout_s` for the first."""
        ...

    def get_state(self, index: int, timeout_s: float) -> Mapping[str, Any]:
        """Return the state of a runner that nothing is asked of. Raises ConnectionError or TimeoutError."""
        ...

    def set_state(self, index: int, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let a runner continue from a state. Raises ConnectionError or TimeoutError."""
        ...

    def check_cast(self, cast: Cast) -> None:
        """Raise ValueError in one sentence for other policies of which runners cannot be told."""
        ...

    def recast(self, index: int, cast: Cast, timeout_s: float) -> None:
        """Let a runner act with other policies from the next fragment on, also while one is under way.

        Raises ConnectionError or TimeoutError.
        """
        ...

    def stop(self, index: int, reason: str = "") -> None:
        """End a runner's process now; no further event comes from it.

        Who came by himself is told the reason, a sentence, where there is one.
        """
        ...

    def close(self) -> None:
        """End all processes. Closing twice does nothing."""
        ...
