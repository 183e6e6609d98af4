"""Fragments and weights that came from a peer, as references that can be handed on as they came.

A fragment is checked here, once, and the bytes go on to a learner as the runner wrote them. Weights are
written once, however many peers they are sent to.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from outrider.transport.references import FragmentReference, WeightsReference
from outrider.wire import (
    Bytes,
    Fragment,
    FragmentSummary,
    Limits,
    Weights,
    WireError,
    decode_fragment,
    decode_weights,
    encode_fragment,
    encode_weights,
    summarise,
)


class ReceivedFragment:
    """A fragment as it arrived; a `FragmentReference`."""

    def __init__(self, message: memoryview, limits: Limits = Limits()) -> None:  # noqa: B008  (frozen)
        """Read and check it; nobody may write to `message` from here on. Raises WireError."""
        self._message = message.toreadonly()
        self._fragment = decode_fragment(self._message, limits)
        self._summary = summarise(self._fragment)

    @property
    def message(self) -> memoryview:
        """The very bytes, to be sent on."""
        return self._message

    @property
    def summary(self) -> FragmentSummary:
        """What is known of it without loading it."""
        return self._summary

    def load(self) -> Fragment:
        """Return the fragment, whose arrays are read-only views of what arrived."""
        return self._fragment


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ReceivedWeights:
    """Weights as they arrived; a `WeightsReference`. They are checked when they are first loaded."""

    message: memoryview
    version: int
    """As the peer said; `load` raises WireError where the weights have another."""
    limits: Limits = field(default_factory=Limits)
    _loaded: list[Weights] = field(default_factory=list, init=False, repr=False, compare=False)
    """At most one: many runners are each sent some of thousands of policies."""

    def load(self) -> Weights:
        """Return the weights, whose arrays are read-only views of what arrived. Raises WireError."""
        if self._loaded:
            return self._loaded[0]
        weights = decode_weights(self.message, self.limits)
        if weights.version != self.version:
            raise WireError(
                f"weights of version {weights.version} came, announced as version {self.version}; "
                "announce the version that is attached"
            )
        self._loaded.append(weights)
        return weights


def fragment_pieces(reference: FragmentReference) -> Sequence[Bytes]:
    """Return a fragment's message in pieces: the very bytes that came, or what it is written as now."""
    if isinstance(reference, ReceivedFragment):
        return (reference.message,)
    return encode_fragment(reference.load()).pieces()


def weights_pieces(
    reference: WeightsReference, *, bfloat16: bool = False, checksum: bool = True
) -> Sequence[Bytes]:
    """Return the message of weights in pieces, the same for each reference however often it is asked for.

    Those that came are handed on as the very bytes, unless they are to be changed.

    With `bfloat16` the weight matrices are rounded to it, which halves the message. The checksum may be
    left out where what carries the message `is_guarded`: writing and checking it take longer than a copy.
    """
    return _written.pieces(reference, bfloat16=bfloat16, checksum=checksum)


class _WrittenWeights:
    """Messages of weights that somebody still holds."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[int, bool, bool], Sequence[Bytes]] = {}
        # Dropped weights may be collected, and `_forget` be called, anywhere: also in here.
        self._lock = threading.RLock()

    def pieces(self, reference: WeightsReference, *, bfloat16: bool, checksum: bool) -> Sequence[Bytes]:
        key = id(reference), bfloat16, checksum
        with self._lock:  # who asks for the same weights waits until they are written
            found = self._pieces.get(key)
            if found is None:
                found = self._pieces[key] = _write(reference, bfloat16=bfloat16, checksum=checksum)
                weakref.finalize(reference, self._forget, key).atexit = False
            return found

    def _forget(self, key: tuple[int, bool, bool]) -> None:
        with self._lock:
            self._pieces.pop(key, None)


def _write(reference: WeightsReference, *, bfloat16: bool, checksum: bool) -> Sequence[Bytes]:
    if isinstance(reference, ReceivedWeights) and checksum and not bfloat16:
        return (reference.message,)
    weights = reference.load()
    rounded = _matrices(weights) if bfloat16 else ()
    return encode_weights(weights, bfloat16=rounded, checksum=checksum).pieces()


def _matrices(weights: Weights) -> list[str]:
    """Name what loses nothing that matters: float32 matrices, also stacked ones, and no running statistics.

    Those are kept in float64, and what is derived from them lies beside them. Rounding the mean of an
    observation that is far from 0 would move all observations.
    """
    exact = {
        name.rpartition(".")[0] for name, tensor in weights.tensors.items() if tensor.dtype == np.float64
    }
    most_axes = 2 if weights.stacks else 1  # of a vector; where policies are stacked they are an axis
    return [
        name
        for name, tensor in weights.tensors.items()
        if tensor.dtype == np.float32 and tensor.ndim > most_axes and name.rpartition(".")[0] not in exact
    ]


_written = _WrittenWeights()
