"""Weights of several policies: to bytes and back, their rules, and their tensors by stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import example_weights, same_message
from outrider.testing.multi_agent_messages import example_stacks
from outrider.wire import (
    Frame,
    Limits,
    Weights,
    WeightsStack,
    WireError,
    decode_weights,
    decode_weights_frame,
    encode_weights,
    joint_fingerprint,
    stack_tensors,
)
from outrider.wire.v1 import weights_pb2

STACKS = example_stacks()
WALKER, SEER = STACKS.stacks


@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=4), version=st.integers(0, 2**63 - 1))
def test_all_stacks_come_back_as_they_were(sizes: list[int], version: int) -> None:
    numbers = np.split(np.arange(sum(sizes), dtype=np.int32), np.cumsum(sizes)[:-1])
    stacks = tuple(
        WeightsStack(name=f"s{i}", fingerprint="0af", policies=n, versions=np.full(len(n), version))
        for i, n in enumerate(numbers)
    )
    tensors = {f"s{i}/layer/weight": np.ones((size, 2, 3), np.float32) for i, size in enumerate(sizes)}
    weights = Weights(version=version, fingerprint="f00d", tensors=tensors, stacks=stacks)
    assert same_message(decode_weights(encode_weights(weights).to_bytes()), weights)


def test_weights_of_one_policy_have_no_stacks() -> None:
    assert decode_weights(encode_weights(example_weights()).to_bytes()).stacks == ()


def test_the_tensors_of_a_stack_have_the_names_that_a_policy_alone_has_for_them() -> None:
    tensors = stack_tensors(STACKS, WALKER)
    assert list(tensors) == ["pi.weight", "mean"]
    assert tensors["mean"] is STACKS.tensors["walker/mean"]
    assert list(stack_tensors(STACKS, SEER)) == ["pi.bias"]


def test_stacks_are_read_only_views_and_guarded_by_the_checksum() -> None:
    message = bytearray(encode_weights(STACKS).to_bytes())
    policies = decode_weights(message).stacks[0].policies
    assert np.shares_memory(policies, np.frombuffer(message, np.uint8))
    assert not policies.flags.writeable
    message[-1] ^= 1
    with pytest.raises(WireError, match="checksum"):
        decode_weights(message)


def test_stacked_tensors_travel_as_bfloat16_too() -> None:
    message = encode_weights(STACKS, bfloat16=["walker/pi.weight"]).to_bytes()
    assert same_message(decode_weights(message), STACKS)  # it holds quarters


def test_who_does_not_know_of_stacks_gets_a_fingerprint_of_no_policy_graph() -> None:
    assert STACKS.fingerprint not in {WALKER.fingerprint, SEER.fingerprint}


def test_a_joint_fingerprint_names_architectures_and_neither_order_nor_policies() -> None:
    found = joint_fingerprint([WALKER, SEER])
    assert len(found) == 32
    assert found == joint_fingerprint([SEER, replace(WALKER, policies=np.zeros(0, np.int32))])
    others = [
        [WALKER],
        [replace(WALKER, fingerprint="beef"), SEER],
        [replace(WALKER, name="runner"), SEER],
        [replace(WALKER, fingerprint=SEER.fingerprint), replace(SEER, fingerprint=WALKER.fingerprint)],
    ]
    assert len({found, *map(joint_fingerprint, others)}) == 5


def _with(*stacks: WeightsStack) -> Weights:
    return replace(STACKS, stacks=stacks)


def _numbers(*numbers: int) -> WeightsStack:
    return replace(WALKER, policies=np.array(numbers, np.int32))


BROKEN: dict[str, Callable[[], Weights]] = {
    "a stack is called ''": lambda: _with(WALKER, replace(SEER, name="")),
    "a stack is called 'a/b'; its name": lambda: _with(WALKER, replace(SEER, name="a/b")),
    "two stacks are called 'walker'": lambda: _with(WALKER, replace(SEER, name="walker")),
    "has int64 policies and int64 versions": lambda: _with(replace(SEER, policies=np.array([3]))),
    "has int32 policies and float64 versions": lambda: _with(replace(SEER, versions=np.array([3.0]))),
    r"has \(3,\) policies and \(1,\) versions": lambda: _with(replace(WALKER, versions=SEER.versions)),
    "'walker' are not ascending": lambda: _with(_numbers(0, 4, 1), SEER),
    "are not ascending from 0 or later; sort them, each once": lambda: _with(_numbers(0, 1, 1), SEER),
    "are not ascending from 0": lambda: _with(_numbers(-1, 0, 1), SEER),
    "changed at versions 0 to 3 of weights of version 2": lambda: replace(STACKS, version=2),
    "changed at versions -1 to -1": lambda: _with(WALKER, replace(SEER, versions=np.array([-1]))),
    "policy 3 is in two stacks": lambda: _with(_numbers(0, 1, 3), SEER),
    r"'seer/pi.bias' belongs to none of the stacks \['walker'\]": lambda: _with(WALKER),
    r"tensor 'walker/mean' has shape \(2,\); its stack has 3 policies": lambda: replace(
        STACKS, tensors={**STACKS.tensors, "walker/mean": np.zeros(2)}
    ),
    r"tensor 'seer/n' has shape \(\)": lambda: replace(
        STACKS, tensors={**STACKS.tensors, "seer/n": np.array(1.0)}
    ),
    "tensor 'seer' belongs to none": lambda: replace(STACKS, tensors={**STACKS.tensors, "seer": np.zeros(1)}),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_rule_is_named(sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        encode_weights(BROKEN[sentence]())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("header.stacks[0].name = 'seer'", "two stacks are called 'seer'"),
        ("del header.stacks[1]", "belongs to none of the stacks"),
        ("header.stacks[0].ClearField('policies')", "policies of stack 'walker' has dtype number 0"),
        ("header.stacks[0].policies.dtype = 13", "has 6 bytes by its shape and 12 in the body"),
        ("header.stacks[1].versions.shape[0] = 2**62", "max_message_bytes is"),
        ("header.stacks[1].policies.offset = header.tensors[0].tensor.offset", "still free"),
        ("header.version = 1", "changed at versions 0 to 3 of weights of version 1"),
        ("header.tensors[0].name = 'walker'", "belongs to none of the stacks"),
    ],
)
def test_a_header_that_lies_is_refused(change: str, sentence: str) -> None:
    frame = encode_weights(STACKS)
    header = weights_pb2.WeightsHeader.FromString(frame.header)
    exec(change, {"header": header})
    with pytest.raises(WireError, match=sentence):
        decode_weights_frame(Frame(header.SerializeToString(), frame.buffers))


@pytest.mark.parametrize(("name", "size"), [("max_stacks", 2), ("max_arrays", 7)])
def test_weights_over_a_limit_are_refused(name: str, size: int) -> None:
    message = encode_weights(STACKS).to_bytes()
    assert decode_weights(message, Limits(**{name: size})).version == 3
    with pytest.raises(WireError, match=f"{name} is {size - 1} and {size} came"):
        decode_weights(message, Limits(**{name: size - 1}))
