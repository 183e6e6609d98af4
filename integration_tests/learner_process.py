"""`outrider-learner` as real processes, which tests end and start again on the same port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from own_ports import free_port

COMMAND = "outrider.learner.service.learner_command"
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3", "-m")
_DEADLINE_S = 60.0


class Service:
    """A process, or several, that listens on a port of its own, also when it is started again."""

    def __init__(self, *flags: str, launcher: Sequence[str] = ()) -> None:
        self._flags = flags
        self._launcher = launcher
        self.address = f"127.0.0.1:{free_port()}"
        self.lines: list[str] = []
        self.start()

    def start(self) -> None:
        """Start, and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", *self._launcher, COMMAND, "--listen", self.address, *self._flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        there = threading.Event()
        threading.Thread(target=self._read, args=(self.process, there), daemon=True).start()
        if not there.wait(_DEADLINE_S) or self.process.poll() is not None:
            self.kill()
            raise AssertionError("".join(self.lines))

    def stop(self) -> int:
        """Tell the service alone, as supervisors do, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait_for_line(self, part: str) -> None:
        """Wait until it has said that: what it writes is read on another thread."""
        deadline = time.monotonic() + _DEADLINE_S
        while not any(part in line for line in self.lines):
            assert time.monotonic() < deadline, "".join(self.lines)
            time.sleep(0.01)

    def pid_of_rank(self, rank: int) -> int:
        """Which child of torchrun is that rank (process ids do not say: they begin anew at some point)."""
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return int(pid)
        raise AssertionError(f"rank {rank} is not running")

    def signal(self, number: int) -> None:
        """Send it to all processes of the service."""
        os.killpg(self.process.pid, number)

    def wait(self) -> int:
        return self.process.wait(_DEADLINE_S)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.wait()

    def _read(self, process: subprocess.Popen[str], there: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            if "listens at" in line:
                self.address = line.partition("listens at ")[2].partition(",")[0]
                there.set()
        process.stdout.close()
        there.set()


@contextmanager
def running(*flags: str, **named: Any) -> Iterator[Service]:
    """Run a service until the block ends."""
    service = Service(*flags, **named)
    try:
        yield service
    finally:
        service.kill()


@contextmanager
def running_two_ranks() -> Iterator[Service]:
    """Run two ranks under torchrun, which starts them again on the same port."""
    with running(launcher=TORCHRUN) as service:
        yield service
