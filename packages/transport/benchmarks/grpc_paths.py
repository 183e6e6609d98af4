"""Fragments and weights over gRPC, beside the same bytes through plain loopback sockets.

    hatch run bench:grpc-paths

Gateway and runners are processes. Both sides of a ratio run interleaved between the same processes, and a
ratio is taken within each round. Printed are medians [min, max] over the rounds: wall time that the gateway
sees, and processor time of both processes.

    fragment       arrays to arrays: a runner encodes a fragment of 64 MiB and sends it; the gateway receives,
                   checks and reads it
    socket         as many bytes that lie ready: `sendall`, and `recv_into` a buffer of the same kind
                   pooled: memory that was used before; fresh: memory that the system hands out for it
    weights        100 MB to 4 runners, which read them: without a checksum, as from a port that only this
                   machine can reach or that has TLS, and with it, as over a plain network
    sockets        as many bytes through 4 sockets: one after the other, and at once with a thread each
    round trip     a message of 64 bytes to a runner and back
    heartbeat      how long a small message takes to arrive while large ones pass by on its connection
    busy           a runner that also computes in pure Python, with Python's switch interval and with that
                   of runner processes: how long a fragment and a small message beside fragments take
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import queue
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import numpy as np

from outrider.testing.machine import machine
from outrider.transport import LocalWeights
from outrider.transport.buffer_pool import RECEIVED
from outrider.transport.connection import Connection
from outrider.transport.grpc_dialer import dial
from outrider.transport.grpc_listener import Listener
from outrider.transport.received import ReceivedFragment, ReceivedWeights, weights_pieces
from outrider.transport.security import ClientSecurity, ServerSecurity
from outrider.wire import EpisodeStatistics, Fragment, Streams, Weights, encode_fragment, session
from outrider.wire.session_codec import encode_sample_request, encode_sample_response

SERVICE = "outrider.wire.v1.RunnerService/Sample"
READY = encode_sample_request(session.Ready())
NUM_RUNNERS = 4
NUM_STREAMS = 8
NUM_SKIPPED = 2
"""Rounds that do not count."""
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


def make_fragment(size_bytes: int) -> Fragment:
    """Return a fragment of about `size_bytes`: float32 observations, 4 discrete actions."""
    observation_size = 128
    length = size_bytes // (4 * observation_size + 40) // NUM_STREAMS
    num_rows = length * NUM_STREAMS
    next_rows = np.arange(NUM_STREAMS) * length + length - 1
    observations = np.ones((num_rows, observation_size), np.float32)
    return Fragment(
        streams=Streams(
            lengths=np.full(NUM_STREAMS, length),
            policy=np.zeros(NUM_STREAMS, np.int32),
            environment=np.arange(NUM_STREAMS, dtype=np.int32),
            agent=np.zeros(NUM_STREAMS, np.int32),
        ),
        observations={"": observations},
        actions={"": np.zeros(num_rows, np.int64)},
        rewards=np.ones(num_rows, np.float32),
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        next_rows=next_rows,
        next_observations={"": observations[next_rows]},
        action_log_probs=np.zeros(num_rows, np.float32),
        action_parameters=np.ones((num_rows, 4), np.float32),
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


def make_weights(size_bytes: int) -> Weights:
    """Return the weights of a wide network: matrices of 4 MiB."""
    num_layers = round(size_bytes / (4 * 2**20))
    tensors = {f"{layer}.weight": np.ones((1024, 1024), np.float32) for layer in range(num_layers)}
    return Weights(version=1, fingerprint="f00d", tensors=tensors)


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
        self._fragment = make_fragment(fragment_bytes)
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


class Cost:
    """Wall and processor seconds of each round of one side."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []


def measure(seats: list[Seat], calls: dict[str, Callable[[], object]], num_rounds: int) -> dict[str, Cost]:
    """Run the sides in turn, after two rounds that do not count."""
    costs = {name: Cost() for name in calls}

    def used() -> float:
        return cpu_s() + sum(float(str(seat.ask("cpu_s"))) for seat in seats)

    for round_ in range(num_rounds + NUM_SKIPPED):
        for name, call in calls.items():
            cpu, start = used(), time.perf_counter()
            call()
            wall = time.perf_counter() - start
            if round_ >= NUM_SKIPPED:
                costs[name].wall.append(wall)
                costs[name].cpu.append(used() - cpu)
    return costs


def report(title: str, costs: dict[str, Cost], ratios: list[tuple[str, str]]) -> None:
    print(f"\n{title}")
    for side, cost in costs.items():
        print(f"  {side:34} {spread(cost.wall, ' ms', 1e3):30} processor {spread(cost.cpu, ' ms', 1e3)}")
    for ours, plain in ratios:
        wall = [a / b for a, b in zip(costs[ours].wall, costs[plain].wall, strict=True)]
        cpu = [a / b for a, b in zip(costs[ours].cpu, costs[plain].cpu, strict=True)]
        print(f"  {f'{ours} / {plain}':34} {spread(wall):30} processor {spread(cpu)}")


def report_fragments(size_bytes: int, num_rounds: int) -> None:
    with seated(1) as (seat,):
        num_bytes = int(str(seat.ask("prepare", size_bytes, 1)))
        warm = np.ones(num_bytes, np.uint8)
        idle_bytes = RECEIVED.max_idle_bytes

        def fragment() -> None:
            seat.tell("send_fragment")
            _, message, _ = seat.inbox.arrived.get(timeout=TIMEOUT_S)
            assert message is not None
            assert ReceivedFragment(message).load().rewards[-1] == 1
            seat.answer()

        def fresh_fragment() -> None:
            held = RECEIVED.take(num_bytes)  # what the pool has, and the next one is not
            RECEIVED.max_idle_bytes = 0
            fragment()
            RECEIVED.max_idle_bytes = idle_bytes
            del held

        def array(*, is_pooled: bool) -> None:
            seat.tell("send_array")
            memory = warm if is_pooled else np.empty(num_bytes, np.uint8)
            receive(seat.socket, memory.data)
            assert memory[-1] == 1
            seat.answer()

        calls: dict[str, Callable[[], object]] = {
            "fragment, pooled": fragment,
            "socket, pooled": functools.partial(array, is_pooled=True),
            "fragment, fresh": fresh_fragment,
            "socket, fresh": functools.partial(array, is_pooled=False),
        }
        ratios = [("fragment, pooled", "socket, pooled"), ("fragment, fresh", "socket, fresh")]
        title = f"a fragment of {num_bytes / 2**20:.0f} MiB from arrays to arrays"
        report(title, measure([seat], calls, num_rounds), ratios)


def send_in_turn(seats: list[Seat], array: memoryview) -> None:
    for seat in seats:
        seat.tell("take_array")
        send(seat, array)
        seat.answer()


def send_at_once(seats: list[Seat], array: memoryview) -> None:
    threads = [threading.Thread(target=send, args=(seat, array)) for seat in seats]
    for seat, thread in zip(seats, threads, strict=True):
        seat.tell("take_array")
        thread.start()
    for seat, thread in zip(seats, threads, strict=True):
        thread.join()
        seat.answer()


def send(seat: Seat, array: memoryview) -> None:
    seat.socket.sendall(array)
    seat.socket.recv(1)


def report_weights(size_bytes: int, num_rounds: int) -> None:
    with seated(NUM_RUNNERS) as seats:
        reference = LocalWeights(make_weights(size_bytes))
        num_bytes = sum(map(len, weights_pieces(reference)))
        array = np.ones(num_bytes, np.uint8)
        for seat in seats:
            seat.ask("prepare", 2**16, num_bytes)

        def publish(*, checksum: bool) -> None:
            fresh = LocalWeights(reference.weights)  # as after each update: nothing was written yet
            for seat in seats:
                pieces = weights_pieces(fresh, checksum=checksum)
                size_bytes = sum(map(len, pieces))
                head = encode_sample_response(session.WeightsDelivery(1), attachment_bytes=size_bytes)
                seat.connection.send(head, pieces)
                seat.tell("take_weights")
            for seat in seats:
                seat.inbox.arrived.get(timeout=TIMEOUT_S)
                seat.answer()

        title = f"weights of {num_bytes / 1e6:.0f} MB to {NUM_RUNNERS} runners"
        calls: dict[str, Callable[[], object]] = {
            "weights": functools.partial(publish, checksum=False),
            "weights, checksum": functools.partial(publish, checksum=True),
            "sockets in turn": functools.partial(send_in_turn, seats, array.data),
            "sockets at once": functools.partial(send_at_once, seats, array.data),
        }
        plain = ("sockets in turn", "sockets at once")
        ratios = [(ours, theirs) for ours in ("weights", "weights, checksum") for theirs in plain]
        report(title, measure(seats, calls, num_rounds), ratios)


def report_small(num_times: int) -> None:
    with seated(1) as (seat,):
        seat.ask("prepare", 64 * 2**20, 1)
        print("\nsmall messages")
        head = encode_sample_response(session.StateRequest(1))
        seat.tell("echo", num_times)
        seconds = []
        for _ in range(num_times):
            start = time.perf_counter()
            seat.connection.send(head)
            _, _, arrived = seat.inbox.arrived.get(timeout=TIMEOUT_S)
            seconds.append(arrived - start)
        seat.answer()
        print(f"  {'round trip':34} {spread(seconds[10:], ' ms', 1e3)}")
        memory = bytearray(64)
        seat.tell("echo_socket", num_times)
        seconds = []
        for _ in range(num_times):
            start = time.perf_counter()
            seat.socket.sendall(memory)
            receive(seat.socket, memoryview(memory))
            seconds.append(time.perf_counter() - start)
        seat.answer()
        print(f"  {'round trip through a socket':34} {spread(seconds[10:], ' ms', 1e3)}")
        beside, alone = [], []
        for _ in range(10):
            beside += list(delays(seat, "stamp_beside"))
            alone += list(delays(seat, "stamp"))
        print(f"  {'heartbeat beside 64 MiB':34} {spread(beside, ' ms', 1e3)}")
        print(f"  {'heartbeat alone':34} {spread(alone, ' ms', 1e3)}")


def delays(seat: Seat, what: str, num_times: int = 50) -> Iterator[float]:
    """Yield how long small messages took."""
    seat.tell(what, num_times)
    num_found = 0
    while num_found < num_times:
        head, message, arrived = seat.inbox.arrived.get(timeout=TIMEOUT_S)
        if message is None:
            num_found += 1
            yield arrived - float(head[4:])  # clocks of the processes of a machine are the same
    seat.answer()


def report_busy(num_rounds: int) -> None:
    with seated(1) as (seat,):
        seat.ask("prepare", 64 * 2**20, 1)
        print("\na runner that computes in pure Python meanwhile")
        took: dict[float, list[float]] = {0.005: [], 0.0005: []}
        for _ in range(num_rounds):
            for interval_s, seconds in took.items():
                seat.ask("switch_every", interval_s)
                start = time.perf_counter()
                seat.tell("send_fragment_busy")
                _, _, arrived = seat.inbox.arrived.get(timeout=TIMEOUT_S)
                seconds.append(arrived - start)
                seat.answer()
        beside: dict[float, list[float]] = {interval_s: [] for interval_s in took}
        for _ in range(num_rounds):
            for interval_s, seconds in beside.items():
                seat.ask("switch_every", interval_s)
                seconds.extend(delays(seat, "stamp_busy", 10))
        for interval_s, seconds in took.items():
            print(f"  {f'64 MiB, switching every {interval_s * 1e3:g} ms':34} {spread(seconds, ' ms', 1e3)}")
            print(f"  {'heartbeat':34} {spread(beside[interval_s], ' ms', 1e3)}")


def spread(values: list[float], unit: str = "", scale: float = 1.0) -> str:
    """Return median [min, max]."""
    median, low, high = (scale * value for value in (statistics.median(values), min(values), max(values)))
    return f"{median:.3g} [{low:.3g}, {high:.3g}]{unit}"


def commit() -> str:
    """Name what is measured."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--fragment-mib", type=int, default=64)
    parser.add_argument("--weights-mb", type=int, default=100)
    arguments = parser.parse_args()
    print(f"commit {commit()}; {machine('numpy', 'grpcio')}")
    report_fragments(arguments.fragment_mib * 2**20, arguments.rounds)
    report_weights(arguments.weights_mb * 10**6, arguments.rounds)
    report_small(1000)
    report_busy(arguments.rounds)


if __name__ == "__main__":
    main()
