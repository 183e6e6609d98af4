"""Fragments of several architectures: their way to bytes and back, their rules and their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import example_fragment, image_fragment, same_message
from outrider.testing.multi_agent_messages import example_team, random_team
from outrider.wire import (
    EpisodeStatistics,
    Fragment,
    Frame,
    Limits,
    SamplingStatistics,
    WireError,
    all_parts,
    check_fragment,
    decode_fragment,
    decode_fragment_frame,
    encode_fragment,
)
from outrider.wire.v1 import fragment_pb2

TEAM = example_team()
(OTHER,) = TEAM.others


@given(seed=st.integers(0, 2**32 - 1), num_others=st.integers(1, 4))
def test_every_fragment_of_several_architectures_comes_back_as_it_was(seed: int, num_others: int) -> None:
    fragment = random_team(seed, num_others=num_others)
    check_fragment(fragment)
    assert same_message(decode_fragment(encode_fragment(fragment).to_bytes()), fragment)


def test_the_first_architecture_may_have_no_rows() -> None:
    fragment = replace(random_team(1, num_streams=0, num_others=0), others=TEAM.others)
    assert fragment.num_rows == 0
    assert same_message(decode_fragment(encode_fragment(fragment).to_bytes()), fragment)


def test_all_parts_are_the_fragment_and_its_others() -> None:
    assert all_parts(TEAM) == (TEAM, OTHER)
    assert all_parts(OTHER) == (OTHER,)


def test_others_travel_as_views_of_one_message_and_after_the_arrays_of_the_first() -> None:
    message = np.zeros(2**14, np.uint8)
    size = encode_fragment(TEAM).write_into(message.data)
    decoded = decode_fragment(message.data[:size])
    for array in (decoded.critic_states[""], decoded.others[0].rewards, decoded.others[0].actions[""]):
        assert np.shares_memory(array, message)
        assert not array.flags.writeable
    first = decoded.next_critic_rows
    assert first is not None
    assert first.ctypes.data < decoded.others[0].streams.lengths.ctypes.data


def test_encoding_copies_no_array_of_others() -> None:
    team = example_team()
    frame = encode_fragment(team)
    team.others[0].rewards[0] = 77
    assert same_message(decode_fragment_frame(frame), team)


def test_columns_of_others_are_packed_too() -> None:
    images = image_fragment()
    other = replace(images, streams=replace(images.streams, policy=np.array([9], np.int32)))
    fragment = replace(TEAM, others=(*TEAM.others, other))
    packed = encode_fragment(fragment, compression="lz4").to_bytes()
    assert len(packed) < len(encode_fragment(fragment).to_bytes()) / 2
    assert same_message(decode_fragment(packed), fragment)


def test_who_does_not_know_of_others_reads_what_the_first_architecture_did() -> None:
    frame = encode_fragment(TEAM)
    header = fragment_pb2.FragmentHeader.FromString(frame.header)
    for name in ("others", "critic_states", "critic_rows", "next_critic_rows"):
        header.ClearField(name)  # type: ignore[arg-type]
    header.episodes.ClearField("agents")
    seen = decode_fragment(Frame(header.SerializeToString(), frame.buffers).to_bytes())
    policy = TEAM.streams.policy
    expected = replace(example_fragment(), streams=replace(example_fragment().streams, policy=policy))
    assert same_message(seen, expected)


def test_fragments_of_one_architecture_say_nothing_about_others() -> None:
    header = fragment_pb2.FragmentHeader.FromString(encode_fragment(example_fragment()).header)
    assert max(field.number for field, _ in header.ListFields()) == 13


def _other(**changes: Any) -> Fragment:
    return replace(TEAM, others=(replace(OTHER, **changes),))


EPISODE = EpisodeStatistics(returns=np.ones(1, np.float32), lengths=np.ones(1, np.int64))
BROKEN = {
    r"others\[0\]: it has others itself": lambda: _other(others=(OTHER,)),
    r"others\[0\]: it has no rows; leave out": lambda: _other(
        **{
            name: getattr(random_team(0, num_streams=0, num_others=0), name)
            for name in ("streams", "observations", "actions", "rewards", "terminated", "truncated")
        },
        action_log_probs=np.zeros(0, np.float32),
        next_observations=random_team(0, num_streams=0, num_others=0).next_observations,
        policy_version=np.zeros(1, np.int64),
    ),
    r"others\[0\]: rewards is float64": lambda: _other(rewards=np.zeros(2)),
    r"others\[0\]: it has episodes of environments": lambda: _other(episodes=EPISODE),
    r"others\[0\]: it has .* sampling statistics": lambda: _other(statistics=SamplingStatistics(total_s=1.0)),
    "policy 4 has streams here and among the others": lambda: _other(
        streams=replace(OTHER.streams, policy=np.array([4], np.int32))
    ),
    "policy 2 has streams .* in two of them": lambda: replace(TEAM, others=(OTHER, OTHER)),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_rule_of_others_is_named(sentence: str) -> None:
    fragment: Callable[[], Fragment] = BROKEN[sentence]
    with pytest.raises(ValueError, match=sentence):
        check_fragment(fragment())
    with pytest.raises(ValueError, match=sentence):
        encode_fragment(fragment())


def _lie(change: str) -> Frame:
    frame = encode_fragment(TEAM)
    header = fragment_pb2.FragmentHeader.FromString(frame.header)
    exec(change, {"header": header})
    return Frame(header.SerializeToString(), frame.buffers)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("header.others[0].others.add()", "one of its others has others itself"),
        ("header.others.add()", "rewards has dtype number 0"),
        ("header.others[0].truncated.offset = header.others[0].terminated.offset", "still free"),
        ("header.others[0].rewards.offset = header.rewards.offset", "rewards has 8 bytes by its shape"),
        ("header.others[0].rewards.shape[0] = 2**62", "max_message_bytes is 268435456"),
        ("header.others[0].statistics.total_s = 1", "sampling statistics"),
        ("header.others[0].episodes.lengths.append(1)", "returns and .* lengths"),
        ("header.others[0].ClearField('streams')", "streams.lengths has dtype number 0"),
    ],
)
def test_a_header_whose_others_lie_is_refused(change: str, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        decode_fragment_frame(_lie(change))


def test_others_within_others_are_refused_however_deep() -> None:
    header = fragment_pb2.FragmentHeader()
    inner = header
    for _ in range(150):
        inner = inner.others.add()
    with pytest.raises(WireError):
        decode_fragment_frame(Frame(header.SerializeToString(), []))


@pytest.mark.parametrize(
    ("name", "size"),
    [("max_stacks", 2), ("max_rows", 9), ("max_streams", 3), ("max_episodes", 2), ("max_arrays", 33)],
)
def test_limits_count_what_all_architectures_have(name: str, size: int) -> None:
    message = encode_fragment(TEAM).to_bytes()
    assert isinstance(decode_fragment(message, Limits(**{name: size})), Fragment)
    with pytest.raises(WireError, match=f"{name} is {size - 1} and {size} came"):
        decode_fragment(message, Limits(**{name: size - 1}))
