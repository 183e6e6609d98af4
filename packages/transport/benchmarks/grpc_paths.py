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
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from grpc_peers import TIMEOUT_S, Seat, cpu_s, receive, seated

from outrider.testing.machine import machine
from outrider.transport import LocalWeights
from outrider.transport.buffer_pool import RECEIVED
from outrider.transport.received import ReceivedFragment, weights_pieces
from outrider.wire import Weights, session
from outrider.wire.session_codec import encode_sample_response

NUM_RUNNERS = 4
NUM_SKIPPED = 2
"""Rounds that do not count."""


def make_weights(size_bytes: int) -> Weights:
    """Return the weights of a wide network: matrices of 4 MiB."""
    num_layers = round(size_bytes / (4 * 2**20))
    tensors = {f"{layer}.weight": np.ones((1024, 1024), np.float32) for layer in range(num_layers)}
    return Weights(version=1, fingerprint="f00d", tensors=tensors)


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
