"""Runners as processes of this machine, without Ray: `RemoteRunners` over a Unix socket.

    start(index) --- standard input: plan, session ---> `outrider.envrunner.farm.runner_process`
                                                             |
    Gateway <------------- Unix socket ----------------------+   dials, and joins with its session

The socket is in a folder that only this user can enter. A process ends when this one does, however it
does, and removes the folder then.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from time import monotonic
from typing import TYPE_CHECKING, Any

import cloudpickle

from outrider.envrunner.farm.runner_orders import RunnerOrders, start
from outrider.envrunner.fleet.remote_runners import (
    NOBODY,
    Admission,
    Failed,
    Left,
    Lost,
    RunnerEvent,
)
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.gateway import Gateway
from outrider.envrunner.gateway_settings import GatewaySettings
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.transport import WeightsReference
from outrider.transport.security import ServerSecurity

if TYPE_CHECKING:
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan

_LOGGER = logging.getLogger("outrider.envrunner")
_LONGEST_PATH = 107
"""Bytes that an operating system allows for the name of a socket."""
_LOOK_S = 0.05
"""How often it is seen whether a process has died."""
_CLOSE_S = 3.0
_FARMS_ONLY: dict[str, Any] = {field.name: field.default for field in fields(GatewaySettings)}
"""Settings of how farms are let in and what travels to them, which mean nothing here, at their defaults."""


@dataclass(frozen=True, slots=True)
class _Runner:
    process: Popen[bytes]
    events: int
    """Descriptor of what it says when it ends."""


class ProcessRunners:
    """Runner processes and the gateway that they dial. For one thread."""

    def __init__(
        self, plan: RunnerPlan | MultiAgentPlan, settings: EnvRunnerSettings, *, num_runners: int
    ) -> None:
        """Open the socket; no process is made before `start`."""
        self._folder = _make_folder()
        try:
            socket = f"unix:{self._folder / 's'}"
            self._gateway = Gateway(
                plan,
                replace(settings, **_FARMS_ONLY),
                num_seats=num_runners,
                address=socket,
                security=ServerSecurity(),
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._plan = plan.to_message(dump=cloudpickle.dumps)
        self._first_runner = plan.first_runner
        self._runners: dict[int, _Runner] = {}
        self._failed: list[RunnerEvent] = []
        self._is_open = True

    @property
    def num_runners(self) -> int:
        """How many there can be."""
        return self._gateway.num_runners

    @property
    def admission(self) -> Admission:
        """Nobody comes by himself."""
        return NOBODY

    def start(self, index: int, *, incarnation: int) -> None:
        """Start a process, which dials the gateway, and return at once."""
        assert index not in self._runners, f"runner {index} is up; stop it before it is made anew"
        self._gateway.stop(index)  # an earlier session is worth nothing any more
        known = self._gateway.reserve(index)
        self._gateway.start(index, incarnation=incarnation)
        events, theirs = os.pipe()
        os.set_blocking(events, False)
        try:
            process = start(
                RunnerOrders(
                    address=self._gateway.address,
                    name=f"runner {self._first_runner + index} of this machine",
                    component="a runner of this machine",
                    plan=self._plan,
                    session=known,
                    folder=str(self._folder),
                    events=theirs,
                    debug=bool(os.environ.get("OUTRIDER_TRACEBACK")),
                )
            )
        except OSError as error:
            os.close(events)
            self._failed.append(Failed(index, OSError(f"runner {index} cannot be started: {error}")))
            return
        finally:
            os.close(theirs)
        self._runners[index] = _Runner(process, events)

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask for a fragment."""
        self._gateway.ask(index, weights)

    def offer(self, weights: WeightsReference) -> None:
        """Give newer weights to all."""
        self._gateway.offer(weights)

    def events(self, timeout_s: float) -> Sequence[RunnerEvent]:
        """Return what happened, and wait up to `timeout_s` for the first."""
        deadline = monotonic() + timeout_s
        while True:
            found = [*self._from_the_gateway(deadline), *self._deaths()]
            if found or monotonic() >= deadline:
                return found

    def get_state(self, index: int, timeout_s: float) -> Mapping[str, Any]:
        """Return the state of a runner that nothing is asked of; see `RemoteRunners`."""
        return self._gateway.get_state(index, timeout_s)

    def set_state(self, index: int, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let a runner continue from a state; see `RemoteRunners`."""
        self._gateway.set_state(index, state, timeout_s)

    def check_cast(self, cast: Cast) -> None:
        """See `RemoteRunners`."""
        self._gateway.check_cast(cast)

    def recast(self, index: int, cast: Cast, timeout_s: float) -> None:
        """Let a runner act with other policies; see `RemoteRunners`."""
        self._gateway.recast(index, cast, timeout_s)

    def stop(self, index: int, reason: str = "") -> None:
        """End a runner's process now."""
        self._gateway.stop(index, reason)
        runner = self._runners.pop(index, None)
        if runner is not None:
            _end(runner, by=monotonic())

    def close(self) -> None:
        """Tell all processes that the run is over, wait for them for a moment, and end them."""
        if not self._is_open:
            return
        self._is_open = False
        self._gateway.close()
        for runner in self._runners.values():
            _hang_up(runner)
        deadline = monotonic() + _CLOSE_S
        while self._runners:
            _, runner = self._runners.popitem()
            _end(runner, by=deadline)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _from_the_gateway(self, deadline: float) -> Sequence[RunnerEvent]:
        remaining_s = 0.0 if self._failed else max(0.0, deadline - monotonic())
        found = [*self._failed, *self._gateway.events(min(remaining_s, _LOOK_S))]
        self._failed = []
        for event in found:
            if isinstance(event, Lost | Left | Failed) and event.index in self._runners:
                _end(self._runners.pop(event.index), by=monotonic())
        return found

    def _deaths(self) -> list[RunnerEvent]:
        dead = [index for index, runner in self._runners.items() if runner.process.poll() is not None]
        found: list[RunnerEvent] = []
        for index in dead:
            runner = self._runners.pop(index)
            self._gateway.stop(index)
            sentence = _last_words(runner)
            if sentence:
                found.append(Failed(index, ValueError(f"runner {index}: {sentence}")))
            else:
                found.append(Lost(index, f"its process {_how(runner.process.returncode)}"))
            _end(runner, by=monotonic())
        return found


def _make_folder() -> Path:
    """Make a folder that only this user can enter, whose name leaves room for that of a socket."""
    for parent in (tempfile.gettempdir(), "/tmp", "/dev/shm"):  # noqa: S108 - mkdtemp makes its own, mode 0700
        if len(os.fsencode(parent)) <= _LONGEST_PATH - len("/outrider-12345678/s") and Path(parent).is_dir():
            return Path(tempfile.mkdtemp(prefix="outrider-", dir=parent))
    raise ValueError(
        f"the folder for temporary files, {tempfile.gettempdir()}, has too long a name for a Unix socket; "
        "set TMPDIR to a shorter one"
    )


def _last_words(runner: _Runner) -> str:
    """Return why a process ended that could say so."""
    with contextlib.suppress(BlockingIOError, ValueError):
        for line in os.read(runner.events, 1 << 16).splitlines():
            event = json.loads(line)
            if event["event"] == "ended" and runner.process.returncode > 0:
                return str(event["text"])
    return ""


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _hang_up(runner: _Runner) -> None:
    """Let a process end by itself."""
    assert runner.process.stdin is not None
    with contextlib.suppress(OSError):
        runner.process.stdin.close()


def _end(runner: _Runner, *, by: float) -> None:
    """Wait for the end of a process, and kill it when `time.monotonic()` is `by`."""
    try:
        runner.process.wait(max(0.0, by - monotonic()))
    except TimeoutExpired:
        runner.process.kill()
        runner.process.wait()
    _hang_up(runner)  # not before: a process that lives would remove the folder
    os.close(runner.events)
