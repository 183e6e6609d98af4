"""Write and read what streams carry most of, beside a memory copy and beside plain protobuf.

    hatch run bench:wire-streams

The best of several rounds each, in wall time.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

import numpy as np

from outrider.wire import (
    chunk_message,
    decode_act_request,
    decode_act_response,
    decode_sample_request,
    decode_sample_response,
    encode_act_request,
    encode_act_response,
    encode_sample_request,
    encode_sample_response,
    read_stream_message,
    session,
)
from outrider.wire.v1 import runner_service_pb2

NUM_COPIES = 16
CHUNK_BYTES = 2**20


def microseconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    timer = timeit.Timer(call)
    num_calls = max(timer.autorange()[0] // 4, 1)
    return min(timer.repeat(7, num_calls)) / num_calls * 1e6


def step() -> session.Step:
    """Return a step of 16 copies in which one episode ended."""
    ended = np.zeros(NUM_COPIES, np.bool_)
    ended[3] = True
    observations = {"": np.ones((NUM_COPIES, 4), np.float32)}
    return session.Step(
        sequence=2,
        observations=observations,
        rewards=np.ones(NUM_COPIES, np.float32),
        terminated=ended,
        truncated=np.zeros(NUM_COPIES, np.bool_),
        ended=np.array([3]),
        final_observations={"": observations[""][:1]},
    )


def report_small() -> None:
    action = session.Action(sequence=2, actions={"": np.zeros(NUM_COPIES, np.int64)})
    for message, encode, decode in (
        (session.Ask(5, 3), encode_sample_response, decode_sample_response),
        (session.FragmentDelivery(5), encode_sample_request, decode_sample_request),
        (step(), encode_act_request, decode_act_request),
        (action, encode_act_response, decode_act_response),
    ):
        written = encode(message, 0)  # type: ignore[operator]
        times = [
            microseconds(lambda: encode(message, 0)),  # type: ignore[operator]  # noqa: B023
            microseconds(lambda: decode(written)),  # noqa: B023
            microseconds(lambda: read_stream_message(written)),  # noqa: B023
        ]
        print(
            f"{type(message).__name__:20} {len(written):5} bytes: write {times[0]:.1f} us, "
            f"read {times[1]:.1f} us, read to move {times[2]:.1f} us"
        )


def report_chunk() -> None:
    piece = memoryview(np.random.default_rng(0).bytes(CHUNK_BYTES))
    three = [piece[:1000], piece[1000:500_000], piece[500_000:]]
    request = runner_service_pb2.SampleRequest
    written = chunk_message([piece])
    copy = microseconds(lambda: bytearray(piece))
    for name, call in (
        ("write", lambda: chunk_message([piece])),
        ("write, of three pieces", lambda: chunk_message(three)),
        ("write with protobuf", lambda: request(chunk={"data": bytes(piece)}).SerializeToString()),
        ("read", lambda: read_stream_message(written)),
        ("read with protobuf", lambda: request.FromString(written).chunk.data),
    ):
        took = microseconds(call)
        print(f"chunk of 1 MiB, {name:24} {took:6.1f} us, {took / copy:.2f} times a memory copy")


if __name__ == "__main__":
    report_small()
    report_chunk()
