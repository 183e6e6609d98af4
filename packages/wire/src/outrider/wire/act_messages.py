"""Steps and actions to and from the messages of `ActService.Act`. Axis: E environment copies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import sample_messages, session
from outrider.wire.handshake import PROTOCOL
from outrider.wire.limits import Limits
from outrider.wire.one_of_codec import number
from outrider.wire.tensor import DTYPES, dtype_number, read_dtype, read_shape
from outrider.wire.v1 import act_service_pb2, runner_service_pb2
from outrider.wire.wire_error import WireError
from outrider.wire.wire_format import walk

_STEP_OR_ACTION, _ARRAYS, _DATA, _LARGE_BYTES = 2, (2, 7), 4, 256
Arrays = Mapping[str, NDArray[Any]]


def check_size(data: memoryview, limits: Limits) -> None:
    """Raise WireError where a message is too large, or what is no array in it is.

    A protobuf library takes up to 30 times the memory for messages within a message, and about as much
    as comes for the bytes of an array.
    """
    limits.check("max_stream_message_bytes", len(data))
    if len(data) <= limits.max_header_bytes:
        return
    num_bytes = len(data)
    for field_number, content in walk(data):
        if field_number == _STEP_OR_ACTION and isinstance(content, memoryview):
            for array_number, field in walk(content, max_fields=limits.max_arrays):
                if array_number in _ARRAYS and isinstance(field, memoryview) and len(field) > _LARGE_BYTES:
                    num_bytes -= _bytes_of_array(field)
    limits.check("max_header_bytes", num_bytes)


def _bytes_of_array(field: memoryview) -> int:
    for field_number, content in walk(field):
        if field_number == _DATA and isinstance(content, memoryview) and len(content) > _LARGE_BYTES:
            return len(content)
    return 0


def write_join(message: runner_service_pb2.Join, join: session.Join) -> None:
    """Fill a message. Raises ValueError for a stream of no environments."""
    number(join.num_environments, "num_environments", 1)
    sample_messages.write_join(message, join)


def read_join(message: runner_service_pb2.Join, limits: Limits) -> session.Join:
    """Return what a message says; of another major version only its hello."""
    join = sample_messages.read_join(message, limits)
    if join.hello.protocol.major == PROTOCOL.major:
        number(join.num_environments, "num_environments", 1)
    return join


def write_step(message: act_service_pb2.Step, step: session.Step) -> None:
    """Fill a message. Raises ValueError for a step that breaks a rule."""
    check_step(step)
    message.sequence = number(step.sequence, "sequence", 1)
    _write_arrays(message.observations, step.observations)
    message.rewards.extend(step.rewards.tolist())
    message.terminated.extend(step.terminated.tolist())
    message.truncated.extend(step.truncated.tolist())
    message.ended.extend(step.ended.tolist())
    _write_arrays(message.final_observations, step.final_observations)


def read_step(message: act_service_pb2.Step, limits: Limits) -> session.Step:
    """Return what a message says, once it is known to keep every rule of a step."""
    limits.check("max_arrays", len(message.observations) + len(message.final_observations))
    limits.check("max_environments", max(len(message.rewards), len(message.ended)))
    step = session.Step(
        sequence=number(message.sequence, "sequence", 1),
        observations=_read_arrays(message.observations, "observations", limits),
        rewards=np.array(message.rewards, np.float32),
        terminated=np.array(message.terminated, np.bool_),
        truncated=np.array(message.truncated, np.bool_),
        ended=np.array(message.ended, np.int64),
        final_observations=_read_arrays(message.final_observations, "final_observations", limits),
    )
    for array in step.observations.values():
        limits.check("max_environments", len(array) if array.ndim else 0)
    check_step(step)
    return step


def check_step(step: session.Step) -> None:
    """Raise ValueError with the first rule of `Step` that this one breaks."""
    num_flags = len(step.rewards)
    for name in ("terminated", "truncated"):
        if len(getattr(step, name)) != num_flags:
            raise ValueError(
                f"{num_flags} rewards and {len(getattr(step, name))} of {name}; one each per copy"
            )
    if not np.isfinite(step.rewards).all():
        wrong = int(np.flatnonzero(~np.isfinite(step.rewards))[0])
        raise ValueError(f"environment {wrong} earned {step.rewards[wrong]}; a reward is a finite number")
    ended = np.flatnonzero(step.terminated | step.truncated)
    if not np.array_equal(step.ended, ended):
        raise ValueError(
            f"ended is {step.ended.tolist()[:20]} where {ended.tolist()[:20]} terminated or were truncated; "
            "it names exactly these, ascending"
        )
    num_copies = num_flags or None
    for path, array in step.observations.items():
        num_copies = array.shape[0] if num_copies is None and array.ndim else num_copies
        if not array.ndim or len(array) != num_copies or not num_copies:
            raise ValueError(
                f"observations{path} has shape {array.shape}; its first axis is the "
                f"{num_copies or 'number of'} copies"
            )
    _check_final_observations(step)


def _check_final_observations(step: session.Step) -> None:
    if not len(step.ended) and not step.final_observations:
        return
    if step.final_observations.keys() != step.observations.keys():
        raise ValueError(
            f"final_observations has {sorted(step.final_observations)} and observations has "
            f"{sorted(step.observations)}; both have each leaf of the space"
        )
    for path, array in step.final_observations.items():
        like = step.observations[path]
        if array.dtype != like.dtype or array.shape != (len(step.ended), *like.shape[1:]):
            raise ValueError(
                f"final_observations{path} is {array.dtype} of shape {array.shape}; "
                f"it is {like.dtype} of shape {(len(step.ended), *like.shape[1:])}"
            )


def write_action(message: act_service_pb2.Action, action: session.Action) -> None:
    """Fill a message."""
    message.sequence = number(action.sequence, "sequence", 1)
    _write_arrays(message.actions, action.actions)


def read_action(message: act_service_pb2.Action, limits: Limits) -> session.Action:
    """Return what a message says."""
    limits.check("max_arrays", len(message.actions))
    sequence = number(message.sequence, "sequence", 1)
    return session.Action(sequence=sequence, actions=_read_arrays(message.actions, "actions", limits))


def _write_arrays(messages: Any, arrays: Arrays) -> None:  # noqa: ANN401  (a repeated field)
    for name, array in arrays.items():
        dtype = dtype_number(array.dtype)
        content = np.ascontiguousarray(array, DTYPES[dtype]).tobytes()
        messages.add(name=name, dtype=dtype, shape=array.shape, data=content)


def _read_arrays(
    messages: Iterable[act_service_pb2.InlineArray], noun: str, limits: Limits
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for message in messages:
        name = f"{noun}{message.name}"
        if message.name in found:
            raise WireError(f"{noun} has {message.name!r} twice")
        found[message.name] = _read_array(message, name, limits)
    return found


def _read_array(message: act_service_pb2.InlineArray, name: str, limits: Limits) -> NDArray[Any]:
    dtype = read_dtype(message.dtype, name)
    shape = read_shape(message.shape, dtype.itemsize, limits)
    content = message.data
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise WireError(f"{name} has {len(content)} bytes, which are no {dtype} of shape {shape}")
    array = np.frombuffer(content, dtype).reshape(shape)
    if dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise WireError(f"{name} is bool and has a byte that is neither 0 nor 1")
    return array
