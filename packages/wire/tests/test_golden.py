"""What released versions wrote is still read, by us and by any protobuf library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outrider.testing.messages import (
    example_fragment,
    example_policy_graph,
    example_spaces,
    example_weights,
    image_fragment,
    same_message,
)
from outrider.testing.multi_agent_messages import example_stacked_graph, example_stacks, example_team
from outrider.testing.stream_messages import DIRECTIONS, TREE
from outrider.wire import (
    Hello,
    ProtocolVersion,
    RefusalReason,
    Welcome,
    decode_episode_statistics,
    decode_fragment,
    decode_fragment_summary,
    decode_hello,
    decode_policy_graph,
    decode_space,
    decode_tree,
    decode_weights,
    decode_welcome,
    encode_fragment,
    encode_policy_graph,
    encode_weights,
    space_difference,
    summarise,
)
from outrider.wire.v1 import fragment_pb2, policy_graph_pb2, tensor_pb2, weights_pb2

GOLDEN = Path(__file__).parent / "golden"
RELEASES = sorted(path.name for path in GOLDEN.iterdir())
every_release = pytest.mark.parametrize("release", RELEASES)
with_several_policies = pytest.mark.parametrize("release", [each for each in RELEASES if each >= "0.2"])


def _golden(release: str, name: str) -> bytes:
    return (GOLDEN / release / f"{name}.bin").read_bytes()


@every_release
def test_fragments_are_read(release: str) -> None:
    assert same_message(decode_fragment(_golden(release, "fragment")), example_fragment())


@every_release
@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_packed_fragments_are_read(release: str, compression: str) -> None:
    assert same_message(decode_fragment(_golden(release, f"fragment_{compression}")), image_fragment())


@every_release
def test_trees_are_read(release: str) -> None:
    # As texts, which tell dtypes, and 1 from True.
    assert repr(decode_tree(_golden(release, "tree"))) == repr(TREE)


SAID_SINCE_02 = {
    "join_of_agents",
    "policies_wanted",
    "fragment_with_weights",
    "nothing_wanted",
    "assignment_of_team",
    "policies",
    "changed_weights",
}


@pytest.mark.parametrize(
    ("release", "name", "kind"),
    [
        (release, name, kind)
        for release in RELEASES
        for name, direction in DIRECTIONS.items()
        for kind in direction.messages
        if release >= "0.2" or kind not in SAID_SINCE_02
    ],
)
def test_what_is_said_on_streams_is_read(release: str, name: str, kind: str) -> None:
    direction = DIRECTIONS[name]
    found = direction.decode(_golden(release, f"{name}_{kind}"))
    assert same_message(found, direction.messages[kind])


def test_what_nobody_asked_to_pack_is_written_as_ever() -> None:
    assert encode_fragment(example_fragment()).to_bytes() == _golden("0.1", "fragment")
    assert encode_weights(example_weights()).to_bytes() == _golden("0.1", "weights")
    assert encode_policy_graph(example_policy_graph()).to_bytes() == _golden("0.1", "policy_graph")


@every_release
def test_summaries_of_fragments_are_read(release: str) -> None:
    summary = decode_fragment_summary(_golden(release, "fragment_summary"))
    assert same_message(summary, summarise(example_fragment()))


@every_release
def test_episode_statistics_are_read(release: str) -> None:
    episodes = decode_episode_statistics(_golden(release, "episode_statistics"))
    assert same_message(episodes, example_fragment().episodes)


@every_release
@pytest.mark.parametrize("name", ["weights", "weights_bfloat16", "weights_without_checksum"])
def test_weights_are_read(release: str, name: str) -> None:
    # The matrix holds quarters, which bfloat16 holds exactly.
    assert same_message(decode_weights(_golden(release, name)), example_weights())


@every_release
def test_policy_graphs_are_read(release: str) -> None:
    graph, example = decode_policy_graph(_golden(release, "policy_graph")), example_policy_graph()
    assert space_difference(graph.observation_space, example.observation_space) is None
    assert space_difference(graph.action_space, example.action_space) is None
    for name in ("model", "fingerprint", "action_heads", "state"):
        assert getattr(graph, name) == getattr(example, name)


@with_several_policies
def test_what_several_policies_did_is_read(release: str) -> None:
    assert same_message(decode_fragment(_golden(release, "team")), example_team())
    summary = decode_fragment_summary(_golden(release, "team_summary"))
    assert same_message(summary, summarise(example_team()))


@with_several_policies
def test_weights_and_graphs_of_several_policies_are_read(release: str) -> None:
    assert same_message(decode_weights(_golden(release, "stacks")), example_stacks())
    graph = decode_policy_graph(_golden(release, "stacked_graph"))
    assert graph.is_stacked
    assert graph.model == example_stacked_graph().model


@every_release
@pytest.mark.parametrize("name", example_spaces())
def test_spaces_are_read(release: str, name: str) -> None:
    assert space_difference(decode_space(_golden(release, f"space_{name}")), example_spaces()[name]) is None


@every_release
def test_handshakes_are_read(release: str) -> None:
    assert decode_hello(_golden(release, "hello")) == Hello(
        component="envrunner 0.1.0",
        protocol=ProtocolVersion(1, 0),
        versions={"outrider-wire": "0.1.0"},
        environment_fingerprint="cafe",
        capabilities=frozenset({"zstd"}),
    )
    assert decode_welcome(_golden(release, "welcome")) == Welcome(
        component="algorithm 0.1.0",
        protocol=ProtocolVersion(1, 0),
        agreed_minor=0,
        capabilities=frozenset({"zstd"}),
        policy_fingerprint="f00d",
    )


@every_release
def test_refusals_are_read(release: str) -> None:
    refusal = decode_welcome(_golden(release, "refusal")).refusal
    assert refusal is not None
    assert refusal.reason is RefusalReason.PROTOCOL
    assert "envrunner 9.0.0 speaks wire protocol 2.3 and algorithm 0.1.0 speaks 1.0" in refusal.sentence


def _array(body: bytes, tensor: tensor_pb2.Tensor, dtype: type[np.generic]) -> list[Any]:
    """Read a tensor as the proto describes it, without any code of ours."""
    count = int(np.prod(tensor.shape))
    found: list[Any] = np.frombuffer(body, dtype, count, tensor.offset).reshape(tensor.shape).tolist()
    return found


@every_release
def test_a_stock_protobuf_library_sees_the_same_fragment(release: str) -> None:
    message = fragment_pb2.Fragment.FromString(_golden(release, "fragment"))
    header, body, example = message.header, message.body, example_fragment()
    assert _array(body, header.rewards, np.float32) == example.rewards.tolist()
    assert _array(body, header.terminated, np.bool_) == example.terminated.tolist()
    assert _array(body, header.next_rows, np.int64) == [3, 5, 6]
    assert _array(body, header.streams.lengths, np.int64) == [4, 3]
    assert header.observations[0].name == "/camera"
    camera = _array(body, header.observations[0].tensor, np.uint8)
    assert camera == example.observations["/camera"].tolist()
    assert list(header.episodes.returns) == [3.0, 11.0]
    assert header.statistics.environment_s == 0.5


@every_release
def test_a_stock_protobuf_library_sees_the_same_weights_and_model(release: str) -> None:
    weights = weights_pb2.Weights.FromString(_golden(release, "weights"))
    matrix = weights.header.tensors[0]
    assert (weights.header.version, matrix.name) == (3, "pi/weight")
    assert _array(weights.body, matrix.tensor, np.float32) == [[0.0, 0.25, 0.5], [0.75, 1.0, 1.25]]
    graph = policy_graph_pb2.PolicyGraph.FromString(_golden(release, "policy_graph"))
    assert graph.body == b"\x08\x07\x00"
    assert graph.header.action_heads[1].stop == 7


@with_several_policies
def test_a_stock_protobuf_library_sees_the_same_others_and_stacks(release: str) -> None:
    message = fragment_pb2.Fragment.FromString(_golden(release, "team"))
    other = message.header.others[0]
    assert _array(message.body, other.rewards, np.float32) == [0.5, 0.25]
    assert _array(message.body, other.streams.policy, np.int32) == [2]
    assert _array(message.body, message.header.next_critic_rows, np.int64) == [4, 7, 8]
    assert list(message.header.episodes.agents.policy) == [0, 4]
    weights = weights_pb2.Weights.FromString(_golden(release, "stacks"))
    assert _array(weights.body, weights.header.stacks[0].policies, np.int32) == [0, 1, 4]
    assert _array(weights.body, weights.header.stacks[0].versions, np.int64) == [3, 0, 2]
