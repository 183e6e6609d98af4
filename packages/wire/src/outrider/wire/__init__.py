"""Messages of Outrider and their NumPy views."""

from outrider.wire.action_head import ActionHead, BoxDistribution, action_heads
from outrider.wire.fragment import Columns, EpisodeStatistics, Fragment, SamplingStatistics, Streams
from outrider.wire.policy_graph import PolicyGraph, TensorSpec
from outrider.wire.space import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    GraphSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    OneOfSpace,
    SequenceSpace,
    Space,
    TextSpace,
    TupleSpace,
    leaf_dtype,
    leaf_shape,
    leaves,
)
from outrider.wire.weights import Weights

__all__ = [
    "ActionHead",
    "BoxDistribution",
    "BoxSpace",
    "Columns",
    "DictSpace",
    "DiscreteSpace",
    "EpisodeStatistics",
    "Fragment",
    "GraphSpace",
    "LeafSpace",
    "MultiBinarySpace",
    "MultiDiscreteSpace",
    "OneOfSpace",
    "PolicyGraph",
    "SamplingStatistics",
    "SequenceSpace",
    "Space",
    "Streams",
    "TensorSpec",
    "TextSpace",
    "TupleSpace",
    "Weights",
    "action_heads",
    "leaf_dtype",
    "leaf_shape",
    "leaves",
]
