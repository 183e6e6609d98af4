"""Two ends of a connection in memory, with a thread that calls their receivers as the network's would.

    pair = ConnectionPair(gateway_receiver, my_receiver)      both have been `opened` when this returns
    pair.b.send(encode_sample_request(join))                  returns at once
    pair.settle()                                             all that followed has been received
    pair.cut()                                                both are `closed`

Nothing is timed: `keep` is noted down, and no heartbeat is ever sent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from outrider.transport.connection import Receiver
from outrider.wire import Bytes, WireError
from outrider.wire.session import Goodbye, GoodbyeReason, Terms
from outrider.wire.stream import goodbye_message, read_stream_message


class ConnectionPair:
    """Connections `a` and `b`, each of which brings what the other one sends."""

    def __init__(
        self, receiver_a: Receiver, receiver_b: Receiver, *, identity_a: str = "", identity_b: str = ""
    ) -> None:
        """Open both. `a` is the connection that `receiver_a` holds; `identity_a` is whom it talks to."""
        self._network = _Network()
        self.a = PairedConnection(self._network, receiver_a, peer="memory:b", identity=identity_a)
        self.b = PairedConnection(self._network, receiver_b, peer="memory:a", identity=identity_b)
        self.a.other, self.b.other = self.b, self.a
        for end in (self.a, self.b):
            self._network.call(end.open)
        self.settle()

    def cut(self, reason: str = "the connection broke") -> None:
        """Break the connection: what is under way is lost, and both are `closed` when this returns."""
        self._network.drop_held()
        for end in (self.a, self.b):
            self._network.call(end.finish, reason)
        self.settle()

    def cut_off(self, sentence: str) -> None:
        """Let `a` cut `b` off, as a connection does by itself whose other side floods or stalls."""
        self.a.broke_rule = True
        self.cut(f"{self.a.peer} was cut off: {sentence}")

    def hold(self) -> None:
        """Deliver nothing until `release`, as a network that is stuck; what is sent waits."""
        self._network.hold()

    def release(self) -> None:
        """Deliver what waits, and go on."""
        self._network.release()

    def settle(self, timeout_s: float = 10.0) -> None:
        """Wait until nothing is under way, answers to answers included.

        Raises what a receiver raised, and TimeoutError where one does not return. Must not be called by
        a receiver.
        """
        self._network.settle(timeout_s)

    def __enter__(self) -> Self:
        """Return the pair, to be cut at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut it, if it still is up, and end its thread."""
        try:
            self.cut()
        finally:
            self._network.stop()


class PairedConnection:
    """A `Connection` whose other side is in this process."""

    def __init__(self, network: _Network, receiver: Receiver, *, peer: str, identity: str) -> None:
        self.peer = peer
        self.identity = identity
        self.broke_rule = False
        self.terms: Terms | None = None
        """What `keep` was called with last."""
        self.other: PairedConnection
        self._network = network
        self._receiver = receiver
        self._num_large_bytes = 0
        self._is_open = True  # this side may send
        self._is_done = False  # `closed` was called

    @property
    def num_bytes_to_send(self) -> int:
        """Bytes of large messages that wait to be delivered."""
        return self._num_large_bytes

    def send(self, head: bytes, attachment: Sequence[Bytes] = ()) -> None:
        """Hand a message over to the other side's receiver, soon."""
        if self._is_open:
            self._post(head, attachment)

    def keep(self, terms: Terms) -> None:
        """Note the terms."""
        self.terms = terms

    def close(self, last: bytes = b"") -> None:
        """Deliver what is queued, and `last`, and close both sides."""
        if not self._is_open:
            return
        self._is_open = False
        if last:
            self._post(last, ())
        self._network.deliver(self.finish, "this side closed the connection")
        self._network.deliver(self.other.finish, "the other side closed the connection")

    def open(self) -> None:
        self._receiver.opened(self)

    def finish(self, reason: str) -> None:
        self._is_open = False
        if not self._is_done:
            self._is_done = True
            self._receiver.closed(self, reason)

    def _post(self, head: bytes, attachment: Sequence[Bytes]) -> None:
        size_bytes = sum(memoryview(piece).nbytes for piece in attachment)
        announced = read_stream_message(head).attachment_bytes
        if announced != size_bytes:
            raise ValueError(
                f"the head announces attachment_bytes={announced} and {size_bytes} are attached; "
                "encode it with the size of what is attached"
            )
        self._num_large_bytes += size_bytes
        self._network.deliver(self._hand_over, head, attachment, size_bytes)

    def _hand_over(self, head: bytes, attachment: Sequence[Bytes], size_bytes: int) -> None:
        self._num_large_bytes -= size_bytes
        self.other.receive(head, memoryview(bytearray(b"".join(attachment))) if size_bytes else None)

    def receive(self, head: bytes, attachment: memoryview | None) -> None:
        if self._is_done:
            return
        try:
            self._receiver.received(self, head, attachment)
        except WireError as error:
            sentence = str(error)
            self.broke_rule = True
            self.close(goodbye_message(Goodbye(reason=GoodbyeReason.MISBEHAVED, sentence=sentence)))


class _Network:
    """One thread, which makes the calls of both sides, one after the other."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._held: list[Callable[[], object]] | None = None
        self._changed = threading.Condition()
        self._is_calling = False
        self._is_stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="outrider-connection-pair", daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        with self._changed:
            self._calls.append(lambda: function(*arguments))
            self._changed.notify_all()

    def deliver(self, function: Callable[..., object], *arguments: object) -> None:
        with self._changed:
            if self._held is None:
                self.call(function, *arguments)
            else:
                self._held.append(lambda: function(*arguments))

    def hold(self) -> None:
        with self._changed:
            self._held = self._held or []

    def release(self) -> None:
        with self._changed:
            self._calls.extend(self._held or ())
            self._held = None
            self._changed.notify_all()

    def drop_held(self) -> None:
        with self._changed:
            self._held = None

    def settle(self, timeout_s: float) -> None:
        assert threading.current_thread() is not self._thread
        with self._changed:
            if not self._changed.wait_for(self._is_settled, timeout_s):
                raise TimeoutError(
                    f"a receiver did not return within {timeout_s} s, or they answer without end"
                )
            error, self._error = self._error, None
        if error is not None:
            raise error

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join(10)

    def _is_settled(self) -> bool:
        return not self._calls and not self._is_calling

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_calling = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._calls or self._is_stopped)
                if not self._calls:
                    return
                call = self._calls.popleft()
                self._is_calling = True
            try:
                call()
            except BaseException as error:  # noqa: BLE001  (raised again by `settle`)
                self._error = self._error or error
