"""What a runner's process is to do: how its parent starts it and says so, and how it reads that.

The parent alone writes to a process's standard input. That is why a pickled environment is allowed there,
as the callable of a user who trains with processes of this machine.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any

from outrider.wire import decode_tree, encode_tree

DRAIN = b"d"
"""What the parent writes, after the orders, to have a runner drained."""
DIAL = b"n"
"""What the parent writes where a runner need not wait for its next attempt: another has found the gateway."""
_LENGTH = struct.Struct("<Q")
_PIPE_BYTES = 60_000
"""What a pipe takes without a reader, at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnerOrders:
    """What a runner's process is to do, as plain values. Exactly one of `environment` and `plan` is given."""

    address: str
    """Of the gateway."""
    name: str
    """Of the runner, for operators."""
    component: str
    """What kind of runner it is: "outrider-farm"."""
    environment: Mapping[str, Any] | None = None
    """`EnvironmentSettings` as a message; all else is the gateway's to say."""
    plan: Mapping[str, Any] | None = None
    """`RunnerPlan` as a message, with pickles: the run itself has started this process."""
    session: str = field(default="", repr=False)
    """That the gateway keeps for this process, or of farms that of the process which died in its place."""
    folder: str | None = None
    """To be removed where standard input closes: the parent may have died."""
    vectorize_mode: str | None = None
    """Overrides the run's."""
    policy_mapping_fn: str | None = None
    """Of farms: "module:function" that says who acts for whom where the run's own function cannot come."""
    insecure: bool = True
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    token: str = field(default="", repr=False)
    """The last five as in `ClientSecurity`."""
    give_up_after_s: float = 3600.0
    drain_s: float = 30.0
    """For how long what was asked for is finished."""
    events: int | None = None
    """Descriptor to which events are written: with a plan only the last one; None: nobody reads them."""
    debug: bool = False
    """Whether tracebacks are printed."""


def start(orders: RunnerOrders, *, stdout: int | IO[Any] | None = None) -> Popen[bytes]:
    """Start a process and give it its orders, without waiting for it. Standard error goes with `stdout`.

    It is a fresh interpreter, not niced, with one thread for numerical libraries.
    """
    paths = [path or str(Path.cwd()) for path in sys.path]
    process = Popen(
        [sys.executable, "-m", "outrider.envrunner.farm.runner_process"],
        stdin=PIPE,
        stdout=stdout,
        stderr=stdout,
        pass_fds=() if orders.events is None else (orders.events,),
        env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    message = encode_tree(asdict(orders)).to_bytes()
    message = _LENGTH.pack(len(message)) + message
    if len(message) <= _PIPE_BYTES:
        _write(process, message)
    else:  # it reads no sooner than it has imported what it needs
        threading.Thread(target=_write, args=(process, message), daemon=True).start()
    return process


def _write(process: Popen[bytes], message: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, ValueError):  # it has ended, and whoever waits for it will notice
        process.stdin.write(message)
        process.stdin.flush()


def receive() -> RunnerOrders:
    """Read the orders from standard input. Raises EOFError where the parent has died."""
    (size,) = _LENGTH.unpack(_read(_LENGTH.size))
    orders = decode_tree(_read(size))
    return RunnerOrders(**orders)


def _read(num_bytes: int) -> bytes:
    """Read exactly so many bytes, past Python's buffer, which nobody could wait at with `select`."""
    pieces = []
    while num_bytes:
        piece = os.read(sys.stdin.fileno(), min(num_bytes, 1 << 20))
        if not piece:
            raise EOFError
        pieces.append(piece)
        num_bytes -= len(piece)
    return b"".join(pieces)
