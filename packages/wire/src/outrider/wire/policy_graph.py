"""A policy graph: a module's forward pass, exported once, which a runner executes without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outrider.wire.action_head import ActionHead
from outrider.wire.space import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """Shape and dtype of a tensor, without the batch axis."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyGraph:
    """An ONNX model whose weights are inputs, so that new weights never need a new graph.

    Inputs, with B rows: "observation" + path [B, ...] for each leaf of the observation space (raw,
    in the leaf's dtype); "state/" + name [B, ...] for each recurrent state; "weights/" + name for
    each tensor that the graph needs, a subset of a `Weights` message's.
    Outputs: "action_parameters" [B, k] float32, then "next_state/" + name [B, ...].
    """

    model: bytes
    """The ONNX model, serialised."""
    fingerprint: str
    """Equal to that of the weights that fit."""
    observation_space: Space
    action_space: Space
    action_heads: tuple[ActionHead, ...]
    """How the k action parameters are read."""
    state: Mapping[str, TensorSpec] = field(default_factory=dict)
    """Recurrent state by name; it is all zeros where an episode starts."""
    is_stacked: bool = False
    """Whether it acts for P policies at once: every input and output then has a first axis P, and rows
    are [P, B, ...], the same number for each policy."""
