"""One environment in a process of its own, for the time that a step takes or the harm that it can do.

The process is a fresh interpreter and not a fork: forks of a process with torch, gRPC or CUDA can hang,
and they hold each other's pipes open, so that nobody notices a death. It ends when its pipe closes, also
where the parent was killed or the environment hangs. Only parent and child share the pipe; that is why
pickle is allowed on it.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol

import cloudpickle
import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from outrider.envrunner.environments.closing import close_all

CLOSE_TIMEOUT_S = 3.0
"""What an environment has for closing, once nobody listens any more."""
_START_TIMEOUT_S = 120.0
"""For starting Python, importing and making the environment, on a machine with much else to do."""
_STALL_TIMEOUT_S = 60
"""How long a message may stand still halfway: its receiver or sender hangs, and not the environment."""


class EnvironmentProcessError(RuntimeError):
    """Raised where an environment raised in its process, or the process died or did not answer."""


class EnvironmentKilledError(EnvironmentProcessError):
    """Raised where a signal ended the process, which need not come again."""


class Served(Protocol):
    """What lives in a process: an environment, and what it does when it is asked."""

    def introduction(self) -> Any:
        """Say what the parent has to know before its first request."""
        ...

    def answer(self, command: str, argument: Any) -> Any:
        """Do what the parent asked for."""
        ...

    def close(self) -> None:
        """Close the environment."""
        ...


class EnvironmentProcess:
    """The parent's side. Every request has one answer, to be fetched before the next request."""

    def __init__(
        self, make: Callable[[], Served], spec: EnvSpec | None, *, inherit: Sequence[int] = ()
    ) -> None:
        """Start the process, without waiting for it. `spec` is registered there before `make` is called.

        It inherits the file descriptors of `inherit`.
        """
        ours, theirs = socket.socketpair()
        for stalled in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, stalled, struct.pack("ll", _STALL_TIMEOUT_S, 0))
        self._pipe = Connection(ours.detach())
        paths = [path or str(Path.cwd()) for path in sys.path]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            pass_fds=(theirs.fileno(), *inherit),
            stdin=subprocess.DEVNULL,
            env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        theirs.close()
        self.pid = self._process.pid
        with contextlib.suppress(OSError):  # a process that died at once is noticed at the first answer
            self._pipe.send_bytes(cloudpickle.dumps((make, spec)))

    def introduction(self) -> Any:
        """Wait for the environment, and return what it says of itself."""
        cure = f"it has {_START_TIMEOUT_S:.0f} s to start; find out what it waits for"
        return self._answer(_START_TIMEOUT_S, cure)

    def request(self, command: str, argument: Any = None) -> None:
        """Have something done: see `Served`."""
        with contextlib.suppress(OSError):  # a process that died is noticed when it does not answer
            self._pipe.send((command, argument))

    def answer(self, deadline: float) -> Any:
        """Wait for the answer until `time.monotonic()` is `deadline`.

        Raises EnvironmentProcessError where none comes; then the process is of no more use.
        """
        cure = "find out what it waits for, or raise env_step_timeout_s"
        return self._answer(max(0.0, deadline - monotonic()), cure)

    def hang_up(self) -> None:
        """Tell the process to end."""
        self._pipe.close()

    def join(self, deadline: float) -> None:
        """Wait for the process to end after `hang_up`, and kill it when `time.monotonic()` is `deadline`."""
        try:
            self._process.wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once."""
        self.hang_up()
        self._process.kill()
        self._process.wait()

    def _answer(self, timeout_s: float, cure: str) -> Any:
        try:
            if not self._pipe.poll(timeout_s):
                raise EnvironmentProcessError(
                    f"environment process {self.pid} did not answer in time and was killed; {cure}"
                )
            answer, remote_traceback = self._pipe.recv()
        except (EOFError, OSError):
            sentence = f"environment process {self.pid} {self._end()}"
            killed = (self._process.returncode or 0) < 0
            raise (EnvironmentKilledError if killed else EnvironmentProcessError)(sentence) from None
        if remote_traceback is not None:
            error = EnvironmentProcessError(answer)
            error.add_note(f"In the environment's process {self.pid}:\n{remote_traceback}")
            raise error
        return answer

    def _end(self) -> str:
        """Say how the process ended."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def serve(descriptor: int) -> None:
    """Run the child's side on an inherited pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which still needs the answers
    pipe = Connection(descriptor)
    threading.Thread(target=_end_with, args=(descriptor,), daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            make, spec = pickle.loads(pipe.recv_bytes())  # noqa: S301 - from the parent alone
            if spec is not None:
                gym.registry[spec.id] = spec
            served = make()
        except Exception as error:  # noqa: BLE001 - reported to the parent
            pipe.send((str(error), traceback.format_exc()))
            return
        pipe.send((served.introduction(), None))
        try:
            while True:
                command, argument = pipe.recv()
                try:
                    answer = served.answer(command, argument)
                except Exception as error:  # noqa: BLE001 - reported to the parent
                    pipe.send((_sentence(error), traceback.format_exc()))
                else:
                    pipe.send((answer, None))
        finally:
            close_all(served)


def _end_with(descriptor: int) -> None:
    """Wait until the other side has closed the pipe, and end this process, whatever it is doing."""
    hang_up = select.poll()
    hang_up.register(descriptor, 0)  # a hang-up is told even if nothing is asked for
    hang_up.poll()
    sleep(CLOSE_TIMEOUT_S)
    os._exit(1)


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
