"""Policy graphs to and from frames."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np

from outrider.wire.action_head import ActionHead, Kind
from outrider.wire.frame import Bytes, Frame, read_frame
from outrider.wire.limits import Limits
from outrider.wire.policy_graph import PolicyGraph, TensorSpec
from outrider.wire.space import leaves
from outrider.wire.space_codec import read_space, write_space
from outrider.wire.tensor import BodyReader, BodyWriter, dtype_number, read_dtype, read_shape
from outrider.wire.v1 import action_head_pb2, policy_graph_pb2
from outrider.wire.wire_error import WireError, reading

_KINDS: dict[action_head_pb2.ActionHead.Kind, Kind] = {
    action_head_pb2.ActionHead.KIND_CATEGORICAL: "categorical",
    action_head_pb2.ActionHead.KIND_BERNOULLI: "bernoulli",
    action_head_pb2.ActionHead.KIND_GAUSSIAN: "gaussian",
    action_head_pb2.ActionHead.KIND_SQUASHED_GAUSSIAN: "squashed_gaussian",
}
assert set(_KINDS.values()) == set(get_args(Kind))
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}


def encode_policy_graph(graph: PolicyGraph) -> Frame:
    """Describe a policy graph; the frame's only buffer is its model."""
    header = policy_graph_pb2.PolicyGraphHeader(fingerprint=graph.fingerprint, is_stacked=graph.is_stacked)
    body = BodyWriter()
    body.add(header.model, np.frombuffer(graph.model, np.uint8))
    write_space(header.observation_space, graph.observation_space)
    write_space(header.action_space, graph.action_space)
    for head in graph.action_heads:
        header.action_heads.add(
            path=head.path,
            kind=_KIND_NUMBERS[head.kind],
            sizes=head.sizes,
            shape=head.shape,
            start=head.start,
            stop=head.stop,
        )
    for name, spec in graph.state.items():
        state = header.state.add(name=name)
        state.spec.dtype = dtype_number(spec.dtype)
        state.spec.shape.extend(spec.shape)
    return body.frame(header)


def decode_policy_graph(message: Bytes, limits: Limits = Limits()) -> PolicyGraph:  # noqa: B008  (frozen)
    """Read a policy graph; its model is copied out of `message`. Raises WireError.

    The model itself is not looked at: whoever runs it trusts its sender that far.
    """
    return decode_policy_graph_frame(read_frame(message, limits), limits)


def decode_policy_graph_frame(frame: Frame, limits: Limits = Limits()) -> PolicyGraph:  # noqa: B008
    """Read a policy graph whose model travelled beside its header. Otherwise as `decode_policy_graph`."""
    with reading("policy graph"):
        body = BodyReader(frame, limits)
        header = policy_graph_pb2.PolicyGraphHeader.FromString(frame.header)
        model = body.read(header.model, "model")
        if model.dtype != np.uint8 or model.ndim != 1 or not model.size:
            raise WireError(
                f"a model of {model.dtype} and shape {model.shape}; it is uint8 [size], not empty"
            )
        action_space = read_space(header.action_space, limits)
        heads = tuple(_read_head(head) for head in header.action_heads)
        _check_heads(heads, set(leaves(action_space)))
        return PolicyGraph(
            model=model.tobytes(),
            fingerprint=header.fingerprint,
            observation_space=read_space(header.observation_space, limits),
            action_space=action_space,
            action_heads=heads,
            state=_read_state(header, limits),
            is_stacked=header.is_stacked,
        )


def _read_head(message: action_head_pb2.ActionHead) -> ActionHead:
    kind = _KINDS.get(message.kind)
    if kind is None:
        raise WireError(f"an action head of kind {message.kind}, which is no kind known here")
    return ActionHead(
        path=message.path,
        kind=kind,
        sizes=tuple(message.sizes),
        shape=tuple(message.shape),
        start=message.start,
        stop=message.stop,
    )


def _check_heads(heads: tuple[ActionHead, ...], paths: set[str]) -> None:
    if not heads or sorted(head.path for head in heads) != sorted(paths):
        raise WireError(
            f"action heads for {[head.path for head in heads]}; the action space has {sorted(paths)}"
        )
    for before, head in itertools.pairwise((None, *heads)):
        assert head is not None
        is_gaussian = head.kind in {"gaussian", "squashed_gaussian"}
        width = sum(head.sizes) * (2 if is_gaussian else 1)
        start = before.stop if before else 0
        if (head.start, head.stop) != (start, start + width):
            raise WireError(
                f"action head {head.path!r} takes {head.start} to {head.stop}; it needs {width} from {start}"
            )
        if math.prod(head.shape) != len(head.sizes) or min(head.sizes, default=1) < 1:
            raise WireError(f"action head {head.path!r} of shape {head.shape} has sizes {head.sizes}")
        if head.kind != "categorical" and set(head.sizes) - {1}:
            raise WireError(f"{head.kind} action head {head.path!r} has sizes {head.sizes}; they are 1")


def _read_state(header: policy_graph_pb2.PolicyGraphHeader, limits: Limits) -> dict[str, TensorSpec]:
    found: dict[str, TensorSpec] = {}
    for state in header.state:
        if state.name in found:
            raise WireError(f"recurrent state {state.name!r} occurs twice")
        name = f"recurrent state {state.name!r}"
        dtype = read_dtype(state.spec.dtype, name)
        found[state.name] = TensorSpec(
            shape=read_shape(state.spec.shape, dtype.itemsize, limits), dtype=dtype
        )
    return found
