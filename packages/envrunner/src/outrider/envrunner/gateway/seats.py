"""The seats of a gateway, and who sits there: a runner elsewhere, or one here that plays a peer's copies.

    driver                        Seats                       Seated   <-- an occupant, from its own thread
    start(index, incarnation) --> a seat is open              occupy(occupant)
                                  assign(index, incarnation) ------------> makes its environments
    Placed, Ready <-------------------------------------------- ready()
    ask(index) -----------------> ask(sequence) -------------------------> samples
    Sampled <-------------------------------------------------- fragment(sequence, fragment)
    Lost, Failed, Left <--------------------------------------- gone, failed, leaving

One lock, `Seats.changed`, is held while an occupant is called and while it calls. So whoever has locks of
his own takes them after this one: he holds none while he calls.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any, Protocol, TypeAlias

from outrider.envrunner.environments.restarts import EnvironmentsFailedError
from outrider.envrunner.fleet.remote_runners import (
    Failed,
    Left,
    Lost,
    Placed,
    Ready,
    RunnerEvent,
    Sampled,
    Waiting,
)
from outrider.transport import FragmentReference, WeightsReference
from outrider.wire import Bytes
from outrider.wire.session import Goodbye, GoodbyeReason

_LOGGER = logging.getLogger("outrider.envrunner")
Check: TypeAlias = Callable[[], FragmentReference | None]


class Occupant(Protocol):
    """A runner as its seat sees it. Called under the gateway's lock: all but the states return at once."""

    @property
    def name(self) -> str:
        """For operators: "farm-7 runner 3 (10.0.0.7:40112)"."""
        ...

    def assign(self, index: int, incarnation: int) -> None:
        """Begin to make the environments of runner `index`; `Seated.ready` or `failed` follows. Once."""
        ...

    def ask(self, sequence: int, weights: WeightsReference | None) -> None:
        """Ask for a fragment: its number, from 1 on, and which weights must act, if any must."""
        ...

    def offer(self, weights: WeightsReference) -> None:
        """Give newer weights. Those that were offered before and not yet sent are left out."""
        ...

    def get_state(self, timeout_s: float) -> Mapping[str, Any]:
        """Return the runner's state. Not under the lock. Raises ConnectionError or TimeoutError."""
        ...

    def set_state(self, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let the runner go on from a state. Not under the lock. Raises as above."""
        ...

    def recast(self, cast: Sequence[Bytes]) -> None:
        """Let the runner play with other policies, which a message says, what it is asked for from now on."""
        ...

    def stop(self, goodbye: Goodbye) -> None:
        """Send it away for good; what it says after this counts for nothing."""
        ...


class Seated:
    """What an occupant tells its seat. Every call returns at once, and does nothing once it was sent away."""

    def __init__(self, seats: Seats, occupant: Occupant) -> None:
        """Made by `Seats.occupy`."""
        self.occupant = occupant
        self.index: int | None = None
        """Of the seat; None while it waits for one."""
        self.is_ready = self.is_leaving = self.is_gone = False
        self.num_asked = 0
        self.num_open = 0
        """Asks without a fragment that the driver has."""
        self._seats = seats

    def ready(self) -> None:
        """Say that the environments are made."""
        with self._seats.changed:
            if not self.is_gone and not self.is_ready:
                self._seats.note_ready(self)

    def fragment(self, sequence: int, fragment: FragmentReference) -> None:
        """Hand in the fragment of the oldest open ask."""
        self.unchecked(sequence, lambda: fragment)

    def unchecked(self, sequence: int, check: Check) -> None:
        """Hand in a fragment that `check` returns on the driver's thread, without the lock.

        None means that it is bad, and that the occupant has said so by `gone`.
        """
        with self._seats.changed:
            if not self.is_gone:
                assert sequence <= self.num_asked, f"fragment {sequence} was not asked for"
                self._seats.note(_Unchecked(self, check))

    def leaving(self, reason: str) -> None:
        """Answer what was asked for and no more; `stop` comes when that is done."""
        with self._seats.changed:
            if not self.is_gone and not self.is_leaving:
                self.is_leaving = True
                _LOGGER.info("%s leaves: %s", self.title, reason)
                self._seats.end_leaving(self)

    def failed(self, sentence: str) -> None:
        """Say why its environment or its policy failed for good, without its name. It is gone."""
        error = EnvironmentsFailedError(f"{self.occupant.name} failed: {sentence}")
        with self._seats.changed:
            self._seats.release(self, sentence, lambda index: Failed(index, error))

    def gone(self, sentence: str) -> None:
        """Say that it is gone; what it was asked for and has not handed in is lost."""
        with self._seats.changed:
            kind = Left if self.is_leaving and not self.num_open else Lost
            self._seats.release(self, sentence, lambda index: kind(index, sentence))

    @property
    def title(self) -> str:
        """For operators."""
        return self.occupant.name if self.index is None else f"runner {self.index}, {self.occupant.name},"


class Seats:
    """Who sits where, and what the driver has not heard yet."""

    def __init__(self, num_seats: int, *, empty: str = "nobody is connected") -> None:
        """Make empty seats, closed until they are started."""
        self.changed = threading.Condition()
        """Holds the lock; notified of everything that somebody may wait for."""
        self._seats = [_Seat() for _ in range(num_seats)]
        self.empty = empty
        """Says who is missing where nobody sits."""
        self._spares: deque[Seated] = deque()
        self._news: list[RunnerEvent | _Unchecked] = []
        self._offered: WeightsReference | None = None

    # What peers do.

    def occupy(self, occupant: Occupant, reservation: str = "") -> Seated:
        """Give somebody a seat: the reserved one, or the lowest free one; otherwise the next that is free."""
        with self.changed:
            seated = Seated(self, occupant)
            index = self._reserved(reservation)
            if index is None:
                index = next((each for each, seat in enumerate(self._seats) if seat.is_free), None)
            if index is None:
                self._spares.append(seated)
                _LOGGER.info("%s waits for a seat: none of %d is free", occupant.name, len(self._seats))
            else:
                self._assign(index, seated)
            return seated

    def reserve(self, index: int) -> str:
        """Keep a closed seat for whoever knows what is returned; it is given up with `stop`."""
        with self.changed:
            self._seats[index].reservation = secrets.token_urlsafe(24)
            return self._seats[index].reservation

    def is_reserved(self, reservation: str) -> bool:
        """Whether a seat is kept for whoever knows this."""
        with self.changed:
            return self._reserved(reservation) is not None

    # What the driver does; see `RemoteRunners`.

    @property
    def num_up(self) -> int:
        """Occupants that can be asked."""
        return sum(seat.holder is not None and seat.holder.is_ready for seat in self._seats)

    def start(self, index: int, incarnation: int) -> None:
        """Open a seat to whoever waits or comes."""
        with self.changed:
            seat = self._seats[index]
            assert seat.incarnation is None, f"seat {index} is open; stop it before it is started anew"
            seat.incarnation = incarnation
            if self._spares and seat.is_free:
                self._assign(index, self._spares.popleft())
            elif seat.is_free:
                self.note(Waiting(index, self.empty))

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask whoever sits there, unless he leaves or is gone."""
        with self.changed:
            seated = self._seats[index].holder
            if seated is not None and not seated.is_leaving:
                seated.num_asked += 1
                seated.num_open += 1
                seated.occupant.ask(seated.num_asked, weights)

    def offer(self, weights: WeightsReference) -> None:
        """Give weights to all that are ready, and to those that will be."""
        with self.changed:
            self._offered = weights
            for seat in self._seats:
                if seat.holder is not None and seat.holder.is_ready:
                    seat.holder.occupant.offer(weights)

    def events(self, timeout_s: float) -> Sequence[RunnerEvent]:
        """Return what happened; fragments are checked here."""
        deadline = monotonic() + timeout_s
        found: list[RunnerEvent] = []
        while not found:
            with self.changed:
                remaining_s = max(0.0, deadline - monotonic())
                if not self.changed.wait_for(lambda: self._news, None if remaining_s == inf else remaining_s):
                    return []
            # One at a time, so that `stop` takes back what is not out yet.
            while news := self._next():
                found += [news] if not isinstance(news, _Unchecked) else self._check(news)
        return found

    def occupant(self, index: int) -> Occupant:
        """Return who sits there, ready. Raises ConnectionError."""
        with self.changed:
            seated = self._seats[index].holder
            if seated is None or not seated.is_ready:
                raise ConnectionError(f"runner {index} is gone")
            return seated.occupant

    def recast(self, index: int, cast: Sequence[Bytes]) -> None:
        """Let who sits there play with other policies. Raises ConnectionError."""
        with self.changed:
            self.occupant(index).recast(cast)

    def stop(self, index: int, reason: str = "") -> None:
        """Close a seat and send its occupant away, with the reason where there is one; he may come again."""
        with self.changed:
            seat = self._seats[index]
            seated = seat.holder
            self._seats[index] = _Seat()
            self._news = [each for each in self._news if each.index != index]
            if seated is not None:
                seated.is_gone = True
                sentence = (
                    f"the run sent runner {index} away: {reason}"
                    if reason
                    else f"the run makes runner {index} anew and takes whoever dials next"
                )
                seated.occupant.stop(Goodbye(reason=GoodbyeReason.LATER, sentence=sentence))

    def close(self, goodbye: Goodbye) -> None:
        """Send everybody away."""
        with self.changed:
            holders = [seat.holder for seat in self._seats if seat.holder is not None]
            for seated in (*holders, *self._spares):
                seated.is_gone = True
                seated.occupant.stop(goodbye)
            self._seats = [_Seat() for _ in self._seats]
            self._spares.clear()
            self._news.clear()

    # What occupants report. Under the lock.

    def note(self, news: RunnerEvent | _Unchecked) -> None:
        """Keep news for the driver."""
        self._news.append(news)
        self.changed.notify_all()

    def note_ready(self, seated: Seated) -> None:
        """Let an occupant be asked, with the newest weights."""
        assert seated.index is not None
        seated.is_ready = True
        self.note(Ready(seated.index))
        if self._offered is not None:
            seated.occupant.offer(self._offered)

    def end_leaving(self, seated: Seated) -> None:
        """Let an occupant go that has delivered everything."""
        if seated.is_leaving and not seated.is_gone and seated.num_open == 0:
            sentence = "everything that was asked for has arrived"
            seated.occupant.stop(Goodbye(reason=GoodbyeReason.DONE, sentence=sentence))
            self.release(seated, sentence, lambda index: Left(index, sentence))

    def release(self, seated: Seated, sentence: str, event: Callable[[int], Lost | Left | Failed]) -> None:
        """Take an occupant off its seat, which is closed until it is started anew.

        Of whom a seat was reserved for, the driver says the same sentence.
        """
        if seated.is_gone:
            return
        seated.is_gone = True
        if seated.index is None:
            self._spares.remove(seated)
            return
        seat, news = self._seats[seated.index], event(seated.index)
        seat.holder = seat.incarnation = None
        level = logging.INFO if isinstance(news, Left) else logging.WARNING
        what = "failed" if isinstance(news, Failed) else "is gone"
        _LOGGER.log(logging.DEBUG if seat.reservation else level, "%s %s: %s", seated.title, what, sentence)
        self.note(news)

    def _assign(self, index: int, seated: Seated) -> None:
        seat = self._seats[index]
        assert seat.incarnation is not None
        seated.index, seat.holder = index, seated
        _LOGGER.info("%s joins as runner %d", seated.occupant.name, index)
        self.note(Placed(index))
        seated.occupant.assign(index, seat.incarnation)

    def _reserved(self, reservation: str) -> int | None:
        if not reservation:
            return None
        seats = enumerate(self._seats)
        return next((i for i, seat in seats if seat.reservation == reservation and seat.is_open), None)

    def _next(self) -> RunnerEvent | _Unchecked | None:
        with self.changed:
            return self._news.pop(0) if self._news else None

    def _check(self, news: _Unchecked) -> list[RunnerEvent]:
        fragment = news.check()
        if fragment is None:
            return []
        with self.changed:
            news.seated.num_open -= 1
            self.end_leaving(news.seated)
            return [Sampled(news.index, fragment)]


@dataclass(slots=True)
class _Seat:
    incarnation: int | None = None
    """None while it is closed."""
    holder: Seated | None = None
    reservation: str = ""

    @property
    def is_open(self) -> bool:
        """Whether somebody may sit down."""
        return self.incarnation is not None and self.holder is None

    @property
    def is_free(self) -> bool:
        """Whether anybody may."""
        return self.is_open and not self.reservation


@dataclass(frozen=True, slots=True)
class _Unchecked:
    """A fragment that has arrived."""

    seated: Seated
    check: Check

    @property
    def index(self) -> int:
        assert self.seated.index is not None
        return self.seated.index
