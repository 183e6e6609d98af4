"""Messages of Outrider and their NumPy views."""

from outrider.wire import session
from outrider.wire.action_head import ActionHead, BoxDistribution, action_heads
from outrider.wire.agents import AgentGroup, Agents
from outrider.wire.compression import Compression, capabilities
from outrider.wire.episode_statistics_codec import decode_episode_statistics, encode_episode_statistics
from outrider.wire.fragment import (
    AgentEpisodes,
    Columns,
    EpisodeStatistics,
    Fragment,
    SamplingStatistics,
    Streams,
    all_parts,
)
from outrider.wire.fragment_checks import check_fragment
from outrider.wire.fragment_codec import decode_fragment, decode_fragment_frame, encode_fragment
from outrider.wire.fragment_streams import take_policies, take_streams
from outrider.wire.fragment_summary import FragmentSummary, summarise
from outrider.wire.fragment_summary_codec import decode_fragment_summary, encode_fragment_summary
from outrider.wire.frame import Bytes, Frame, read_frame
from outrider.wire.handshake import (
    PROTOCOL,
    Hello,
    ProtocolVersion,
    Refusal,
    RefusalReason,
    Welcome,
    answer_hello,
)
from outrider.wire.handshake_codec import decode_hello, decode_welcome, encode_hello, encode_welcome
from outrider.wire.limits import Limits
from outrider.wire.policy_graph import PolicyGraph, TensorSpec
from outrider.wire.policy_graph_codec import (
    decode_policy_graph,
    decode_policy_graph_frame,
    encode_policy_graph,
)
from outrider.wire.session_codec import (
    decode_act_request,
    decode_act_response,
    decode_learn_request,
    decode_learn_response,
    decode_sample_request,
    decode_sample_response,
    encode_act_request,
    encode_act_response,
    encode_learn_request,
    encode_learn_response,
    encode_sample_request,
    encode_sample_response,
)
from outrider.wire.settings_message import decode_settings, encode_settings
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
from outrider.wire.space_codec import decode_space, encode_space
from outrider.wire.space_difference import space_difference
from outrider.wire.stream import (
    HEARTBEAT,
    MAX_CHUNK_BYTES,
    StreamMessage,
    chunk_message,
    goodbye_message,
    read_stream_message,
)
from outrider.wire.tree_codec import decode_tree, encode_tree
from outrider.wire.weights import Weights, WeightsStack
from outrider.wire.weights_codec import decode_weights, decode_weights_frame, encode_weights
from outrider.wire.weights_stacks import joint_fingerprint, stack_tensors
from outrider.wire.wire_error import WireError

__all__ = [
    "HEARTBEAT",
    "MAX_CHUNK_BYTES",
    "PROTOCOL",
    "ActionHead",
    "AgentEpisodes",
    "AgentGroup",
    "Agents",
    "BoxDistribution",
    "BoxSpace",
    "Bytes",
    "Columns",
    "Compression",
    "DictSpace",
    "DiscreteSpace",
    "EpisodeStatistics",
    "Fragment",
    "FragmentSummary",
    "Frame",
    "GraphSpace",
    "Hello",
    "LeafSpace",
    "Limits",
    "MultiBinarySpace",
    "MultiDiscreteSpace",
    "OneOfSpace",
    "PolicyGraph",
    "ProtocolVersion",
    "Refusal",
    "RefusalReason",
    "SamplingStatistics",
    "SequenceSpace",
    "Space",
    "StreamMessage",
    "Streams",
    "TensorSpec",
    "TextSpace",
    "TupleSpace",
    "Weights",
    "WeightsStack",
    "Welcome",
    "WireError",
    "action_heads",
    "all_parts",
    "answer_hello",
    "capabilities",
    "check_fragment",
    "chunk_message",
    "decode_act_request",
    "decode_act_response",
    "decode_episode_statistics",
    "decode_fragment",
    "decode_fragment_frame",
    "decode_fragment_summary",
    "decode_hello",
    "decode_learn_request",
    "decode_learn_response",
    "decode_policy_graph",
    "decode_policy_graph_frame",
    "decode_sample_request",
    "decode_sample_response",
    "decode_settings",
    "decode_space",
    "decode_tree",
    "decode_weights",
    "decode_weights_frame",
    "decode_welcome",
    "encode_act_request",
    "encode_act_response",
    "encode_episode_statistics",
    "encode_fragment",
    "encode_fragment_summary",
    "encode_hello",
    "encode_learn_request",
    "encode_learn_response",
    "encode_policy_graph",
    "encode_sample_request",
    "encode_sample_response",
    "encode_settings",
    "encode_space",
    "encode_tree",
    "encode_weights",
    "encode_welcome",
    "goodbye_message",
    "joint_fingerprint",
    "leaf_dtype",
    "leaf_shape",
    "leaves",
    "read_frame",
    "read_stream_message",
    "session",
    "space_difference",
    "stack_tensors",
    "summarise",
    "take_policies",
    "take_streams",
]
