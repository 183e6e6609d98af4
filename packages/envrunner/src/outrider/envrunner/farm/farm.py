"""Keeps the runner processes of a farm going: starts them, hears of them, makes lost ones anew, drains them.

    Farm --- orders, "n", "d" ---> runner process --- dials ---> gateway
         <-- events --------------
         <-- its lines -----------

One thread waits for all pipes at once. Whether something has to be done about a runner that ended is
decided here; what it samples is between it and the gateway.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from subprocess import Popen
from typing import Any

from outrider.envrunner.farm.dial_again import BackOff
from outrider.envrunner.farm.farm_ending import Ended, Ending
from outrider.envrunner.farm.farm_log import FarmLog, Level
from outrider.envrunner.farm.farm_news import FarmNews
from outrider.envrunner.farm.runner_orders import DIAL, DRAIN, RunnerOrders, start

_RATE_S = 10.0
"""How often it is said how fast the farm is."""
_STEADY_S = 30.0
"""How long a runner is up before it counts as one that works: a bad fragment is handed in like a good one."""
_KILL_S = 5.0
"""How much longer than a drain may take a runner is waited for."""
_LOOK_S = 1.0
"""How often it is looked for processes that have ended and whose pipes others keep open."""
_LONGEST_LINE = 1 << 16
"""Bytes that are kept of a line which does not end, as progress bars write: the last ones."""
_FINAL = {Ending.UNUSABLE, Ending.REFUSED, Ending.GAVE_UP}
"""What would happen to every other runner of the farm too."""

Start = Callable[[RunnerOrders, int], "Popen[bytes]"]
"""Starts a process with these orders, whose output goes to a descriptor."""


def _start(orders: RunnerOrders, output: int) -> Popen[bytes]:
    return start(orders, stdout=output)


@dataclass(slots=True)
class _Member:
    index: int
    process: Popen[bytes] | None = None
    events: int = -1
    lines: int = -1
    is_connected: bool = False
    is_seated: bool = False
    session: str = ""
    """Where it was seated last: a process that dies cannot end it, and the next one does."""
    num_connections: int = 0
    ended: Ended | None = None
    start_at: float = 0.0
    back_off: BackOff = field(default_factory=BackOff)


class Farm:
    """Runs until it is drained, the run is over, or nothing can come of it."""

    def __init__(
        self,
        orders: RunnerOrders,
        log: FarmLog,
        *,
        num_runners: int,
        start: Start = _start,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start nothing yet; every runner gets `orders` with a name of its own."""
        self._orders = orders
        self._log = log
        self._news = FarmNews(log, clock)
        self._start_process = start
        self._clock = clock
        self._members = [_Member(index) for index in range(num_runners)]
        self._selector = selectors.DefaultSelector()
        self._partial: dict[int, bytes] = {}
        self._num_signals = 0
        self._num_killed: int | None = None
        """Runners that did not end by themselves; None while there is time for it."""
        self._stopping_since: float | None = None
        self._ended: Ended | None = None
        self._was_connected = False
        self._num_env_steps = 0
        self._version: int | None = None
        self._num_reconnects = self._num_restarts = 0
        self._rate_since = self._looks_at = clock()

    @property
    def num_connected(self) -> int:
        """Runners that a gateway has let in. Safe to ask from any thread."""
        return sum(member.is_connected for member in self._members)

    def run(self) -> int:
        """Run to the end, on the main thread, and return the exit code."""
        with self._listening() as woken:
            self._selector.register(woken, selectors.EVENT_READ, None)
            try:
                while not self._is_done():
                    self._start_due()
                    self._wait(woken)
                    self._note_silent_ends()
                    self._obey_signals()
                    self._say_rate()
            finally:
                self._kill_all()
        return self._conclude()

    # ----------------------------------------------------------------------------------------- processes

    def _start_due(self) -> None:
        for member in self._members:
            if member.process is None and self._stopping_since is None and member.start_at <= self._clock():
                self._start(member)

    def _start(self, member: _Member) -> None:
        name = f"{self._orders.name} runner {member.index}"
        pipes: list[int] = []
        try:
            pipes += os.pipe()
            pipes += os.pipe()
            events, theirs, lines, output = pipes
            orders = replace(self._orders, name=name, events=theirs, session=member.session)
            member.process = self._start_process(orders, output)
        except OSError as error:
            for descriptor in pipes:
                os.close(descriptor)
            sentence = f"its process cannot be started: {os.strerror(error.errno or 0)}"
            self._decide(member, Ended(Ending.FAILED, sentence), 1)
            return
        os.close(theirs)
        os.close(output)
        member.events, member.lines, member.ended, member.num_connections = events, lines, None, 0
        for descriptor in (events, lines):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, member)

    def _wait(self, woken: int) -> None:
        """Wait for news or for the next thing to do, and take the news."""
        for key, _ in self._selector.select(max(0.0, self._next_deadline() - self._clock())):
            if key.fd == woken:
                os.read(woken, 4096)
            elif key.fileobj in (key.data.events, key.data.lines):
                self._read(key.data, key.fd)

    def _next_deadline(self) -> float:
        deadlines = [self._rate_since + _RATE_S, self._looks_at]
        if self._stopping_since is None:
            deadlines += [member.start_at for member in self._members if member.process is None]
        else:
            deadlines.append(self._stopping_since + self._orders.drain_s + _KILL_S)
        return min(deadlines)

    def _read(self, member: _Member, descriptor: int) -> bool:
        """Take what can be read. Returns whether there may be more."""
        try:
            read = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False
        *lines, rest = (self._partial.get(descriptor, b"") + read).split(b"\n")
        is_event = descriptor == member.events
        self._partial[descriptor] = rest if is_event else rest[-_LONGEST_LINE:]
        for line in lines:
            self._hear(member, json.loads(line)) if is_event else self._forward(member, line)
        if read:
            return True
        if is_event:
            self._note_end(member)
        else:
            self._close(descriptor)
            member.lines = -1
        return False

    def _forward(self, member: _Member, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self._log.say("line", text, level="warning", runner=member.index)

    def _note_silent_ends(self) -> None:
        """See now and then who ended while another process has its pipes, as its environment's may."""
        if self._clock() < self._looks_at:
            return
        self._looks_at = self._clock() + _LOOK_S
        for member in self._members:
            if member.process is not None and member.process.poll() is not None:
                while self._read(member, member.events):
                    pass
                if member.process is not None:
                    self._note_end(member)

    def _note_end(self, member: _Member) -> None:
        """A runner closed its events, which it does when its process ends."""
        assert member.process is not None
        process, member.process = member.process, None
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        code = process.wait()
        while member.lines >= 0 and self._read(member, member.lines):
            pass  # its last words
        for descriptor in (member.events, member.lines):
            if descriptor >= 0:
                self._close(descriptor)
        member.events = member.lines = -1
        member.is_connected = False
        self._decide(member, member.ended, code)

    def _close(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        self._partial.pop(descriptor, None)

    def _kill_all(self) -> None:
        self._num_killed = 0
        for member in self._members:
            if member.process is not None:
                self._num_killed += 1
                member.process.kill()
                self._note_end(member)

    # ------------------------------------------------------------------------------------------ decisions

    def _decide(self, member: _Member, ended: Ended | None, code: int) -> None:
        """Say how a runner ended, and do what follows from it."""
        was_killed = code < 0
        if ended is None:
            how = (
                f"was killed by {signal.Signals(-code).name}"
                if was_killed
                else f"ended with exit code {code}"
            )
            ended = Ended(Ending.FAILED, f"its process {how}")
        if self._stopping_since is not None:
            # One that was drained before it had dialled ends without a word.
            if ended.ending is Ending.FAILED and code and self._num_killed is None:
                self._log.say("ended", ended.sentence, level="warning", runner=member.index)
            return
        is_hopeless = ended.ending is Ending.FAILED and not was_killed and not self._was_connected
        if ended.ending is Ending.OVER or ended.ending in _FINAL or is_hopeless:
            self._end(ended)
            return
        pause_s = member.back_off.next_s()
        member.start_at = self._clock() + pause_s
        self._num_restarts += 1
        text = f"{ended.sentence or 'it ended'}; it is started anew in {max(0.1, pause_s):.1f} s"
        self._news.restart(member.index, text)

    def _end(self, ended: Ended) -> None:
        """End the farm as one of its runners did."""
        if self._ended is None:
            self._ended = ended
            self._drain()

    def _drain(self) -> None:
        if self._stopping_since is not None:
            return
        self._stopping_since = self._clock()
        for member in self._members:
            self._order(member, DRAIN)

    def _order(self, member: _Member, order: bytes) -> None:
        if member.process is not None:
            assert member.process.stdin is not None
            with suppress(OSError):  # it has died, and its events will say so
                member.process.stdin.write(order)
                member.process.stdin.flush()

    def _is_done(self) -> bool:
        if self._stopping_since is None:
            return False
        is_late = self._clock() >= self._stopping_since + self._orders.drain_s + _KILL_S
        is_final = self._ended is not None and self._ended.ending.exit_code != 0
        is_over = self._num_signals > 1 or is_late or is_final
        return is_over or all(member.process is None for member in self._members)

    def _conclude(self) -> int:
        if self._num_signals > 1:
            self._log.say("ended", "stopped at once", level="warning")
            return Ending.FAILED.exit_code
        ended = self._ended or Ended(Ending.DRAINED, "drained")
        text = ended.sentence or "the run is over"
        level: Level = "error" if ended.ending.exit_code else "info"
        if self._ended is None and self._num_killed:
            level = "warning"
            text += (
                ", and runners killed with what they were asked for, because they took longer than "
                f"--drain-timeout {self._orders.drain_s:g}: {self._num_killed}"
            )
        self._log.say("ended", text, level=level)
        return ended.ending.exit_code

    # ----------------------------------------------------------------------------------------------- news

    def _hear(self, member: _Member, event: dict[str, Any]) -> None:
        text = event["text"]
        match event["event"]:
            case "connected":
                self._was_connected = member.is_connected = True
                member.is_seated = False
                self._num_reconnects += member.num_connections > 0
                member.num_connections += 1
                self._news.connected(member.index, text)
                self._wake_others(member)
            case "seated":
                member.is_seated, member.session = True, event["session"]
            case "lost" | "noticed" as what:
                member.is_connected = member.is_connected and what == "noticed"
                self._log.say(what, text, level="warning", runner=member.index)
            case "parted":
                member.is_connected = False
                self._news.parted(text)
            case "waits":
                self._news.waits(member.index, text)
            case "sampled":
                self._num_env_steps += event["steps"]
                self._version = max(event["version"], -1 if self._version is None else self._version)
                if self._clock() >= member.start_at + _STEADY_S:
                    member.back_off.succeed()
            case "ended":
                member.ended = Ended(Ending(event["ending"]), text)

    def _wake_others(self, first: _Member) -> None:
        """Let those that pause dial at once: the gateway is there."""
        for member in self._members:
            if member is not first and not member.is_connected:
                self._order(member, DIAL)

    def _say_rate(self) -> None:
        elapsed_s = self._clock() - self._rate_since
        if elapsed_s < _RATE_S:
            return
        rate = self._num_env_steps / elapsed_s
        self._num_env_steps, self._rate_since = 0, self._clock()
        num_waiting = sum(member.is_connected and not member.is_seated for member in self._members)
        waiting = f" ({num_waiting} waiting for a free seat in the run)" if num_waiting else ""
        version = "no weights yet" if self._version is None else f"weights version {self._version}"
        self._log.say(
            "rate",
            f"{self.num_connected} of {len(self._members)} runners connected{waiting}, {rate:,.0f} "
            f"environment steps/s, {version}, reconnects: {self._num_reconnects}, "
            f"restarts: {self._num_restarts}",
            connected=self.num_connected,
            waiting_for_seats=num_waiting,
            env_steps_per_s=round(rate, 1),
            weights_version=-1 if self._version is None else self._version,
            reconnects=self._num_reconnects,
            restarts=self._num_restarts,
        )

    # -------------------------------------------------------------------------------------------- signals

    def _obey_signals(self) -> None:
        if self._num_signals and self._stopping_since is None:
            self._log.say(
                "draining", "finishing what the gateway has asked for; one more signal stops at once"
            )
            self._drain()

    @contextmanager
    def _listening(self) -> Iterator[int]:
        """Count SIGTERM and SIGINT, and give a descriptor that can be read when one came."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        in_main_thread = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if in_main_thread else ()
        handlers = {number: signal.signal(number, self._count_signal) for number in numbers}
        before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False) if in_main_thread else -1
        try:
            yield woken
        finally:
            if in_main_thread:
                signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(woken)
            os.close(wake)

    def _count_signal(self, *_: object) -> None:
        self._num_signals += 1
