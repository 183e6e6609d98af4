"""Fragments and weights in Ray's object store, and what of them crosses between Ray's processes.

    encode_fragment(fragment)  ->  Frame  -- to_message -->  (header, [array, array, ...])
                                                                     |
                                           ray.put, or an actor returns it: one copy per node
                                                                     |
    decode_fragment_frame      <-  Frame  <- from_message -  views of shared memory

A message is plain bytes and buffers: pickle writes the buffers out of band, so arrays are copied into
shared memory once and mapped by every reader on the node. No class of ours is pickled, so the two sides
may have different releases. Ray's peers are trusted, and the limits that hold for strangers do not apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pickle import PickleBuffer
from typing import Any, TypeAlias

import numpy as np
import ray
from numpy.lib.stride_tricks import as_strided
from ray.exceptions import (
    GetTimeoutError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    WorkerCrashedError,
)

from outrider.transport.references import FragmentReference, WeightsReference
from outrider.wire import (
    Bytes,
    Fragment,
    FragmentSummary,
    Frame,
    Limits,
    Weights,
    decode_fragment_frame,
    decode_fragment_summary,
    decode_weights_frame,
    encode_fragment,
    encode_weights,
)

Message: TypeAlias = tuple[bytes, Sequence[Any]]
"""A header and its arrays, each a buffer or a list of consecutive pieces of one."""

LOAD_TIMEOUT_S = 60.0
"""Longest wait for an object that another process or node has."""
_LIMITS = Limits(
    max_message_bytes=2**50,
    max_header_bytes=2**31,
    max_arrays=2**24,
    max_rows=2**40,
    max_streams=2**40,
    max_episodes=2**31,
    max_stacks=2**24,
)
_PIECE_BYTES = 2**20
"""Ray copies buffers above this size with threads that it starts for each: 0.5 to 2 ms a buffer, which
makes 24 tensors of 4 MiB take 22 to 50 ms to put where one array of as many bytes takes 9 ms."""
_MAX_SPLIT_BYTES = 64 * 2**20
"""From this size on its threads earn back what they cost."""
_GONE = (ObjectLostError, RayActorError, WorkerCrashedError, NodeDiedError, LocalRayletDiedError)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class RayFragment:
    """A fragment in Ray's object store; a `FragmentReference`. Handing on `ref` moves no row."""

    ref: ray.ObjectRef[Message]
    """The object that `load` fetches."""
    summary: FragmentSummary
    """What is known of it without loading it."""

    def load(self, *, timeout_s: float = LOAD_TIMEOUT_S) -> Fragment:
        """Return the fragment, whose arrays are read-only views of shared memory; blocks until it is here.

        Raises ConnectionError where it is gone, and TimeoutError where it does not come in time.
        """
        return decode_fragment_frame(_fetch(self.ref, "a fragment", timeout_s), _LIMITS)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class RayWeights:
    """Weights in Ray's object store; a `WeightsReference`. Each node gets them once."""

    ref: ray.ObjectRef[Message]
    """The object that `load` fetches."""
    version: int
    """Version of these weights."""

    def load(self, *, timeout_s: float = LOAD_TIMEOUT_S) -> Weights:
        """Return the weights, whose arrays are read-only views of shared memory; blocks until they are here.

        Raises ConnectionError where they are gone, and TimeoutError where they do not come in time.
        """
        return decode_weights_frame(
            _fetch(self.ref, f"version {self.version} of the weights", timeout_s), _LIMITS
        )


def to_message(frame: Frame) -> tuple[bytes, list[PickleBuffer | list[PickleBuffer]]]:
    """Return what an actor returns, or `ray.put` takes, for a frame. Nothing is copied until then."""
    return frame.header, [_split(buffer) for buffer in frame.buffers]


def from_message(message: Message) -> Frame:
    """Return the frame of a message that arrived; its arrays are views."""
    header, buffers = message
    return Frame.from_parts(header, [_join(each) if isinstance(each, list) else each for each in buffers])


def read_fragment(message: Message) -> Fragment:
    """Return the fragment of a message that arrived; its arrays are read-only views of shared memory."""
    return decode_fragment_frame(from_message(message), _LIMITS)


def read_weights(message: Message) -> Weights:
    """Return the weights of a message that arrived; their arrays are read-only views of shared memory."""
    return decode_weights_frame(from_message(message), _LIMITS)


def read_fragment_summary(message: bytes) -> FragmentSummary:
    """Return the summary that a runner sent, however many agents' episodes it lists."""
    return decode_fragment_summary(message, _LIMITS)


def put_fragment(fragment: FragmentReference) -> RayFragment:
    """Put a fragment into the object store, unless it is there. The calling process then owns it."""
    if isinstance(fragment, RayFragment):
        return fragment
    return RayFragment(ray.put(to_message(encode_fragment(fragment.load()))), fragment.summary)


def put_weights(weights: WeightsReference) -> RayWeights:
    """Put weights into the object store, unless they are there. The calling process then owns them."""
    if isinstance(weights, RayWeights):
        return weights
    frame = encode_weights(weights.load(), checksum=False)  # they stay in memory
    return RayWeights(ray.put(to_message(frame)), weights.version)


def _split(buffer: memoryview) -> PickleBuffer | list[PickleBuffer]:
    if not _PIECE_BYTES < len(buffer) < _MAX_SPLIT_BYTES:
        return PickleBuffer(buffer)
    starts = range(0, len(buffer), _PIECE_BYTES)
    return [PickleBuffer(buffer[start : start + _PIECE_BYTES]) for start in starts]


def _join(pieces: Sequence[Bytes]) -> memoryview:
    """Return one view of pieces that lie one after the other, as Ray lays them; copy others."""
    arrays = [np.frombuffer(piece, np.uint8) for piece in pieces]
    starts = [array.ctypes.data for array in arrays]
    ends = [start + array.size for start, array in zip(starts, arrays, strict=True)]
    if starts[1:] != ends[:-1]:
        return np.concatenate(arrays).data
    # The first piece keeps all of them: Ray maps and frees an object as a whole.
    return as_strided(arrays[0], (ends[-1] - starts[0],), writeable=False).data


def _fetch(ref: ray.ObjectRef[Any], noun: str, timeout_s: float) -> Frame:
    (message,) = fetch_objects([ref], noun, timeout_s)
    return from_message(message)


def fetch_objects(refs: Sequence[ray.ObjectRef[Any]], noun: str, timeout_s: float) -> list[Any]:
    """Return what is in the object store, once all of it is on this node.

    Raises ConnectionError where something is gone, and TimeoutError where it does not come in time.
    """
    try:
        return list(ray.get(list(refs), timeout=timeout_s))
    except GetTimeoutError as error:
        raise TimeoutError(
            f"{noun} did not come within {timeout_s} s from Ray's object store; "
            "the process that makes it is stuck, or the network is slow"
        ) from error
    except _GONE as error:
        raise ConnectionError(
            f"{noun} is gone from Ray's object store, with the process or node that held it "
            f"({type(error).__name__})"
        ) from error
