"""The runner's side of `RunnerService.Sample`, message by message, for tests of a gateway.

peer = RawRunner(port)
peer.join()
peer.say(session.Ready())
assert peer.heard(session.Ask) == [session.Ask(1, 0)]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from outrider.testing.dialled_gateway import MemoryPort
from outrider.transport.connection import Connection
from outrider.wire import (
    Bytes,
    DiscreteSpace,
    EpisodeStatistics,
    Fragment,
    Hello,
    PolicyGraph,
    Streams,
    action_heads,
    encode_fragment,
    session,
)
from outrider.wire.session_codec import decode_sample_response, encode_sample_request

_SPACE = DiscreteSpace(num_values=4)
NUMBERED_GRAPH = PolicyGraph(
    model=b"none",
    fingerprint="numbered",
    observation_space=_SPACE,
    action_space=_SPACE,
    action_heads=action_heads(_SPACE),
)
"""Of a policy that nobody calls; weights of `outrider.testing.numbered_runner` fit it."""
_Kind = TypeVar("_Kind")


class RawRunner:
    """Says what it is told to, and notes what it hears. A `Receiver`."""

    def __init__(self, port: MemoryPort) -> None:
        """Connect, and say nothing."""
        self.messages: list[Any] = []
        self.attachments: list[memoryview | None] = []
        self.closed_because: str | None = None
        self.connection = port.dial(self)
        self._port = port

    def opened(self, connection: Connection) -> None:
        """Do nothing."""

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        """Note a message."""
        self.messages.append(decode_sample_response(head))
        self.attachments.append(attachment)

    def closed(self, connection: Connection, reason: str) -> None:
        """Note why."""
        self.closed_because = reason

    def say(self, message: session.SampleRequest, pieces: Sequence[Bytes] = ()) -> None:
        """Send a message, and wait until the gateway has taken it."""
        size_bytes = sum(memoryview(piece).nbytes for piece in pieces)
        self.connection.send(encode_sample_request(message, size_bytes), pieces)
        self._port.settle()

    def join(self, **changes: Any) -> session.SessionWelcome:  # noqa: ANN401 - fields of a Join
        """Introduce itself, with the spaces of `NUMBERED_GRAPH`; return the answer."""
        self.say(replace(JOIN, **changes))
        return self.heard(session.SessionWelcome)[-1]

    def deliver(self, sequence: int, fragment: Fragment) -> None:
        """Hand in a fragment."""
        self.say(session.FragmentDelivery(sequence), encode_fragment(fragment).pieces())

    def heard(self, kind: type[_Kind]) -> list[_Kind]:
        """Return all messages of a kind so far."""
        self._port.settle()
        return [each for each in self.messages if isinstance(each, kind)]


JOIN = session.Join(
    hello=Hello(component="farm 1.2"), name="farm-7", observation_space=_SPACE, action_space=_SPACE
)


def numbered_fragment(number: int = 0, *, version: int = 0, runner: int = 0) -> Fragment:
    """Return one row of `NUMBERED_GRAPH`'s spaces, whose reward is a number to know it by."""
    one = np.zeros(1, np.int64)
    return Fragment(
        streams=Streams(
            lengths=one + 1,
            policy=np.zeros(1, np.int32),
            environment=np.full(1, runner, np.int32),
            agent=np.zeros(1, np.int32),
        ),
        observations={"": one},
        actions={"": one},
        rewards=np.full(1, number, np.float32),
        terminated=np.zeros(1, np.bool_),
        truncated=np.zeros(1, np.bool_),
        next_rows=one,
        next_observations={"": one},
        action_log_probs=np.zeros(1, np.float32),
        policy_version=one + version,
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )
