"""Policy graphs to bytes and back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from outrider.testing.messages import example_policy_graph, example_spaces
from outrider.wire import (
    Frame,
    PolicyGraph,
    WireError,
    action_heads,
    decode_policy_graph,
    decode_policy_graph_frame,
    encode_policy_graph,
    space_difference,
)
from outrider.wire.v1 import policy_graph_pb2


def _same_graph(a: PolicyGraph, b: PolicyGraph) -> bool:
    return (
        space_difference(a.observation_space, b.observation_space) is None
        and space_difference(a.action_space, b.action_space) is None
        and (a.model, a.fingerprint, a.action_heads, a.state)
        == (b.model, b.fingerprint, b.action_heads, b.state)
    )


def test_a_policy_graph_comes_back_as_it_was() -> None:
    graph = example_policy_graph()
    assert _same_graph(decode_policy_graph(encode_policy_graph(graph).to_bytes()), graph)


@pytest.mark.parametrize("is_stacked", [False, True])
def test_a_graph_says_whether_it_acts_for_several_policies_at_once(is_stacked: bool) -> None:
    graph = replace(example_policy_graph(), is_stacked=is_stacked)
    assert decode_policy_graph(encode_policy_graph(graph).to_bytes()).is_stacked == is_stacked


@pytest.mark.parametrize("box", ["gaussian", "squashed_gaussian"])
@pytest.mark.parametrize("name", ["box", "discrete", "multi_discrete", "multi_binary"])
def test_action_heads_of_every_kind_come_back_as_they_were(name: str, box: str) -> None:
    space = example_spaces()[name]
    heads = action_heads(space, box=box)  # type: ignore[arg-type]
    graph = replace(example_policy_graph(), action_space=space, action_heads=heads)
    assert _same_graph(decode_policy_graph(encode_policy_graph(graph).to_bytes()), graph)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("header.ClearField('model')", "model has dtype number 0"),
        ("header.model.dtype = 2", "a model of int8"),
        ("header.model.shape[0] = 0", "not empty"),
        ("header.ClearField('action_space')", "no kind"),
        ("del header.action_heads[:]", "the action space has"),
        ("header.action_heads[0].path = '/1'", "action heads for"),
        ("header.action_heads[1].start = 0", "takes 0 to 7; it needs 4 from 3"),
        ("header.action_heads[0].kind = 0", "kind 0"),
        ("header.action_heads[0].shape.append(2)", "has sizes"),
        ("header.action_heads[0].kind = 2", "sizes .* they are 1"),
        ("header.state.append(header.state[0])", "'h' occurs twice"),
        ("header.state[0].spec.shape[0] = 2**62", "max_message_bytes"),
        ("header.state[0].spec.dtype = 0", "recurrent state 'h' has dtype number 0"),
    ],
)
def test_a_header_that_lies_is_refused(change: str, sentence: str) -> None:
    frame = encode_policy_graph(example_policy_graph())
    header = policy_graph_pb2.PolicyGraphHeader.FromString(frame.header)
    exec(change, {"header": header})
    with pytest.raises(WireError, match=sentence):
        decode_policy_graph_frame(Frame(header.SerializeToString(), frame.buffers))
