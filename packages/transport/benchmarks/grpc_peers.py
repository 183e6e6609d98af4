"""The two sides of `grpc_paths.py`: processes of runners, and the gateway's seats for them."""

from __future__ import annotations

import multiprocessing
import queue
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe

import numpy as np
from fragment_of_size import fragment_of_size

from outrider.transport.connection import Connection
from outrider.transport.grpc_dialer import dial
from outrider.transport.grpc_listener import Listener
from outrider.transport.received import ReceivedWeights
from outrider.transport.security import ClientSecurity, ServerSecurity
from outrider.wire import encode_fragment, session
from outrider.wire.session_codec import encode_sample_request

SERVICE = "outrider.wire.v1.RunnerService/Sample"
READY = encode_sample_request(session.Ready())
TIMEOUT_S = 60.0


class Inbox:
    """A receiver that queues what comes, with the time at which it came."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.arrived: queue.SimpleQueue[tuple[bytes, memoryview | None, float]] = queue.SimpleQueue()

    def opened(self, connection: Connection) -> None:
        self.connection = connection

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        self.arrived.put((head, attachment, time.perf_counter()))

    def closed(self, connection: Connection, reason: str) -> None:
        pass


# ------------------------------------------------------------------------------------ a runner's process


class Runner:
    """What the gateway tells a runner to do. It is connected in both ways and holds all it sends."""

    def __init__(self, address: str, port: int) -> None:
        self._inbox = Inbox()
        self._connection = dial(
            address, SERVICE, self._inbox, security=ClientSecurity(insecure=True), timeout_s=TIMEOUT_S
        )
        self._connection.send(READY)  # a gateway waits 10 s for a peer to introduce itself
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def prepare(self, fragment_bytes: int, weights_bytes: int) -> int:
        self._fragment = fragment_of_size(fragment_bytes)
        num_bytes = encode_fragment(self._fragment).num_bytes
        self._array = np.ones(num_bytes, np.uint8)
        self._memory = np.ones(weights_bytes, np.uint8)
        return num_bytes

    def send_fragment(self) -> None:
        pieces = encode_fragment(self._fragment).pieces()
        head = session.FragmentDelivery(1)
        self._connection.send(encode_sample_request(head, attachment_bytes=sum(map(len, pieces))), pieces)

    def send_array(self) -> None:
        self._socket.sendall(self._array.data)

    def take_weights(self) -> None:
        _, message, _ = self._inbox.arrived.get(timeout=TIMEOUT_S)
        assert message is not None
        loaded = ReceivedWeights(message, 1).load()
        assert loaded.tensors["0.weight"][0, 0] == 1
        self._connection.send(READY)

    def take_array(self) -> None:
        receive(self._socket, self._memory.data)
        self._socket.sendall(b"1")

    def echo(self, num_times: int) -> None:
        for _ in range(num_times):
            self._inbox.arrived.get(timeout=TIMEOUT_S)
            self._connection.send(READY)

    def echo_socket(self, num_times: int) -> None:
        memory = bytearray(64)
        for _ in range(num_times):
            receive(self._socket, memoryview(memory))
            self._socket.sendall(memory)

    def stamp(self, num_times: int) -> None:
        """Send small messages, each with the time at which it is sent."""
        for _ in range(num_times):
            time.sleep(0.005)
            self.stamp_now()

    def stamp_now(self) -> None:
        self._connection.send(encode_sample_request(session.Leaving(str(time.perf_counter()))))

    def stamp_beside(self, num_times: int) -> None:
        """Do so while fragments are under way."""
        for _ in range(num_times):
            if not self._connection.num_bytes_to_send:
                self.send_fragment()
            self.stamp(1)

    def switch_every(self, interval_s: float) -> None:
        sys.setswitchinterval(interval_s)

    def send_fragment_busy(self) -> None:
        self.send_fragment()
        while self._connection.num_bytes_to_send:
            compute(0.01)

    def stamp_busy(self, num_times: int) -> None:
        """Send small messages while fragments are under way and something is computed."""
        for _ in range(num_times):
            if not self._connection.num_bytes_to_send:
                self.send_fragment()
            compute(0.01)
            self.stamp_now()

    def cpu_s(self) -> float:
        return cpu_s()


def run_runner(pipe: Pipe, address: str, port: int) -> None:
    runner = Runner(address, port)
    pipe.send(None)
    while (told := pipe.recv()) is not None:
        name, arguments = told
        pipe.send(getattr(runner, name)(*arguments))


def compute(seconds: float) -> None:
    """Hold the interpreter, as an environment in pure Python does."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(100))


def receive(connection: socket.socket, memory: memoryview) -> None:
    while len(memory):
        memory = memory[connection.recv_into(memory) :]


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------------------------------------- the gateway


class Seat:
    """A runner, seen from the gateway."""

    def __init__(self, address: str, listening: socket.socket, inbox: Inbox) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        arguments = (other, address, listening.getsockname()[1])
        self._process = spawn.Process(target=run_runner, args=arguments, daemon=True)
        self._process.start()
        self.socket, _ = listening.accept()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pipe.recv()
        inbox.arrived.get(timeout=TIMEOUT_S)
        assert inbox.connection is not None
        self.connection, self.inbox = inbox.connection, inbox

    def tell(self, name: str, *arguments: object) -> None:
        self._pipe.send((name, arguments))

    def answer(self) -> object:
        return self._pipe.recv()

    def ask(self, name: str, *arguments: object) -> object:
        self.tell(name, *arguments)
        return self.answer()

    def end(self) -> None:
        self._pipe.send(None)
        self._process.join(TIMEOUT_S)


class Seats:
    """Hands each connection that comes to an inbox of its own."""

    def __init__(self) -> None:
        self.newest = Inbox()

    def opened(self, connection: Connection) -> None:
        self.newest.opened(connection)
        connection.inbox = self.newest  # type: ignore[attr-defined]

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        connection.inbox.received(connection, head, attachment)  # type: ignore[attr-defined]

    def closed(self, connection: Connection, reason: str) -> None:
        pass


@contextmanager
def seated(num_runners: int) -> Iterator[list[Seat]]:
    receiver = Seats()
    listener = Listener("127.0.0.1:0", {SERVICE: receiver}, security=ServerSecurity())
    seats = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(num_runners):
            receiver.newest = Inbox()
            seats.append(Seat(listener.address, listening, receiver.newest))
    yield seats
    for seat in seats:
        seat.end()
    listener.close()
