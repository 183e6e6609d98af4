"""Encode and decode a fragment, beside a memory copy and beside plain protobuf `bytes` fields.

    hatch run bench:wire

Everything is measured interleaved in one run, in CPU time, which is wall time on a machine with nothing
else to do; a ratio is taken within each round. Printed are medians [min, max] over the rounds.

    outrider     encode into a reused buffer and decode to arrays from it
    memcpy       copy the same number of bytes into a reused buffer
    bytes fields a message with a description and a `bytes` field for each array: fill, serialise,
                 parse, make arrays. Unlike outrider's it checks nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import api_implementation
from numpy.typing import NDArray

from outrider.testing.machine import machine
from outrider.wire import EpisodeStatistics, Fragment, Streams, decode_fragment, encode_fragment
from outrider.wire.tensor import DTYPES, dtype_number
from outrider.wire.v1 import tensor_pb2

NUM_STREAMS = 8
NUM_ROUNDS = 41


def make_fragment(size_bytes: int, observation_size: int) -> Fragment:
    """Return a fragment of about `size_bytes`: float32 observations, 4 discrete actions."""
    num_rows = size_bytes // (4 * observation_size + 40) // NUM_STREAMS * NUM_STREAMS
    length = num_rows // NUM_STREAMS
    rng = np.random.default_rng(0)
    next_rows = np.arange(NUM_STREAMS) * length + length - 1
    observations = rng.random((num_rows, observation_size), np.float32)
    return Fragment(
        streams=Streams(
            lengths=np.full(NUM_STREAMS, length),
            policy=np.zeros(NUM_STREAMS, np.int32),
            environment=np.arange(NUM_STREAMS, dtype=np.int32),
            agent=np.zeros(NUM_STREAMS, np.int32),
        ),
        observations={"": observations},
        actions={"": rng.integers(0, 4, num_rows)},
        rewards=np.ones(num_rows, np.float32),
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        next_rows=next_rows,
        next_observations={"": observations[next_rows]},
        action_log_probs=np.zeros(num_rows, np.float32),
        action_parameters=rng.random((num_rows, 4), np.float32),
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


def plain_message_class() -> Any:  # noqa: ANN401  (a class made at run time)
    """Return the class of a message `PlainFragment { repeated PlainColumn columns = 1; }`."""
    file = descriptor_pb2.FileDescriptorProto(
        name="plain.proto", package="plain", syntax="proto3", dependency=[tensor_pb2.DESCRIPTOR.name]
    )
    column = file.message_type.add(name="PlainColumn")
    column.field.add(name="tensor", number=1, type=11, label=1, type_name=".outrider.wire.v1.NamedTensor")
    column.field.add(name="content", number=2, type=12, label=1)
    message = file.message_type.add(name="PlainFragment")
    message.field.add(name="columns", number=1, type=11, label=3, type_name=".plain.PlainColumn")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("plain.PlainFragment"))


PLAIN = plain_message_class()


def named_arrays(fragment: Fragment) -> dict[str, NDArray[Any]]:
    """Return the arrays of a fragment by some name."""
    names = ("rewards", "terminated", "truncated", "next_rows", "action_log_probs", "policy_version")
    arrays = {f"streams/{field.name}": getattr(fragment.streams, field.name) for field in fields(Streams)[:4]}
    arrays |= {name: getattr(fragment, name) for name in names}
    arrays |= {"observations": fragment.observations[""], "actions": fragment.actions[""]}
    return arrays | {
        "next_observations": fragment.next_observations[""],
        "action_parameters": np.asarray(fragment.action_parameters),
    }


def through_bytes_fields(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Bring arrays to the other side as one would with stock protobuf alone. Nothing is checked."""
    sent = PLAIN()
    for name, array in arrays.items():
        column = sent.columns.add(content=array.tobytes())
        column.tensor.name = name
        column.tensor.tensor.dtype = dtype_number(array.dtype)
        column.tensor.tensor.shape.extend(array.shape)
    received = PLAIN.FromString(sent.SerializeToString())
    found: dict[str, NDArray[Any]] = {}
    for column in received.columns:
        tensor = column.tensor.tensor
        array = np.frombuffer(column.content, DTYPES[tensor.dtype]).reshape(tensor.shape)
        found[column.tensor.name] = array
    return found


def sides(fragment: Fragment) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name; each brings the fragment from arrays to arrays."""
    buffer = np.zeros(encode_fragment(fragment).num_bytes, np.uint8)
    source, target = buffer.copy(), buffer.copy()
    arrays = named_arrays(fragment)
    message = encode_fragment(fragment).to_bytes()

    def outrider() -> object:
        size = encode_fragment(fragment).write_into(buffer.data)
        return decode_fragment(buffer.data[:size])

    return {
        "outrider": outrider,
        "memcpy": lambda: np.copyto(target, source),
        "bytes fields": lambda: through_bytes_fields(arrays),
        "(outrider: encode to a frame)": lambda: encode_fragment(fragment),
        "(outrider: decode to views)": lambda: decode_fragment(message),
    }


def measure(calls: dict[str, Callable[[], object]], num_calls: int) -> dict[str, list[float]]:
    """Return CPU seconds per call of each side in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(NUM_ROUNDS + 1):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(num_calls):
                call()
            if round_:
                seconds[name].append((time.process_time() - start) / num_calls)
    return seconds


def spread(values: list[float], unit: str = "", scale: float = 1.0) -> str:
    """Return median [min, max]."""
    median, low, high = (scale * value for value in (statistics.median(values), min(values), max(values)))
    return f"{median:.3g} [{low:.3g}, {high:.3g}]{unit}"


def report(name: str, fragment: Fragment, num_calls: int) -> None:
    frame = encode_fragment(fragment)
    print(f"\n{name}: {fragment.num_rows} rows, {frame.num_bytes} bytes, {len(frame.buffers)} arrays")
    seconds = measure(sides(fragment), num_calls)
    for side, values in seconds.items():
        print(f"  {side:36} {spread(values, ' us', 1e6)}")
    ours = seconds["outrider"]
    for side in ("memcpy", "bytes fields"):
        ratios = [a / b for a, b in zip(ours, seconds[side], strict=True)]
        print(f"  outrider / {side:25} {spread(ratios)}")


def main() -> None:
    print(f"{machine('numpy', 'protobuf')} ({api_implementation.Type()})")
    report("64 KiB", make_fragment(64 * 2**10, observation_size=4), num_calls=20)
    report("64 MiB", make_fragment(64 * 2**20, observation_size=128), num_calls=1)


if __name__ == "__main__":
    main()
