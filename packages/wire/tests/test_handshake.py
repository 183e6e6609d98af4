"""Who may work with whom, and how a refusal is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.wire import (
    PROTOCOL,
    Hello,
    ProtocolVersion,
    RefusalReason,
    Welcome,
    WireError,
    answer_hello,
    decode_hello,
    decode_welcome,
    encode_hello,
    encode_welcome,
)
from outrider.wire.v1 import handshake_pb2

RUNNER = Hello(component="envrunner 0.3.1", environment_fingerprint="cafe")
TRAINER = Hello(component="algorithm 0.2.0", environment_fingerprint="cafe", policy_fingerprint="f00d")


def _refusal(hello: Hello, own: Hello) -> tuple[RefusalReason, str]:
    refusal = answer_hello(hello, own).refusal
    assert refusal is not None
    return refusal.reason, refusal.sentence


def test_another_major_version_is_refused_with_both_versions_and_the_cure() -> None:
    newer = replace(RUNNER, protocol=ProtocolVersion(2, 0))
    older = replace(TRAINER, protocol=ProtocolVersion(1, 4))
    reason, sentence = _refusal(newer, older)
    assert reason is RefusalReason.PROTOCOL
    assert sentence == (
        "envrunner 0.3.1 speaks wire protocol 2.0 and algorithm 0.2.0 speaks 1.4, and major versions "
        "must be equal; upgrade algorithm 0.2.0"
    )
    assert _refusal(older, newer)[1].endswith("upgrade algorithm 0.2.0")


@pytest.mark.parametrize(("theirs", "ours"), [(3, 5), (5, 3)])
def test_of_two_minor_versions_both_use_the_smaller(theirs: int, ours: int) -> None:
    hello, own = (replace(RUNNER, protocol=ProtocolVersion(1, minor)) for minor in (theirs, ours))
    welcome = answer_hello(hello, own)
    assert welcome.refusal is None
    assert welcome.agreed_minor == 3
    assert welcome.protocol.minor == ours


def test_another_environment_is_refused() -> None:
    reason, sentence = _refusal(replace(RUNNER, environment_fingerprint="beef"), TRAINER)
    assert reason is RefusalReason.ENVIRONMENT
    assert "environment beef and algorithm 0.2.0 trains for cafe; give both the same" in sentence


def test_a_peer_without_an_environment_is_welcome() -> None:
    assert answer_hello(replace(RUNNER, environment_fingerprint=""), TRAINER).refusal is None


def test_a_runner_with_an_old_policy_graph_is_told_which_one_is_in_force() -> None:
    assert answer_hello(replace(RUNNER, policy_fingerprint="dead"), TRAINER).policy_fingerprint == "f00d"


def test_peers_use_the_capabilities_that_both_have() -> None:
    hello = replace(RUNNER, capabilities=frozenset({"zstd", "bfloat16"}))
    own = replace(TRAINER, capabilities=frozenset({"bfloat16", "nccl"}))
    assert answer_hello(hello, own).capabilities == {"bfloat16"}


@pytest.mark.parametrize("needing", [RUNNER, TRAINER])
def test_a_required_capability_that_the_other_lacks_is_refused_by_name(needing: Hello) -> None:
    other = TRAINER if needing is RUNNER else RUNNER
    demanding = replace(needing, capabilities=frozenset({"zstd"}), required_capabilities=frozenset({"zstd"}))
    reason, sentence = _refusal(demanding, other) if needing is RUNNER else _refusal(other, demanding)
    assert reason is RefusalReason.CAPABILITY
    assert f"{needing.component} needs zstd, which {other.component} does not have" in sentence


def test_nobody_requires_what_it_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"requires \['zstd'\] without having them"):
        Hello(component="x", required_capabilities=frozenset({"zstd"}))


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=9)
UINT32 = st.integers(0, 2**32 - 1)


@given(
    component=NAMES,
    minor=UINT32,
    versions=st.dictionaries(NAMES, NAMES, max_size=3),
    fingerprints=st.tuples(NAMES, NAMES),
    capabilities=st.frozensets(NAMES, max_size=3),
)
def test_hello_and_welcome_come_back_as_they_were(
    component: str,
    minor: int,
    versions: dict[str, str],
    fingerprints: tuple[str, str],
    capabilities: frozenset[str],
) -> None:
    hello = Hello(
        component=component,
        protocol=ProtocolVersion(PROTOCOL.major, minor),
        versions=versions,
        environment_fingerprint=fingerprints[0],
        policy_fingerprint=fingerprints[1],
        capabilities=capabilities,
        required_capabilities=capabilities,
    )
    assert decode_hello(encode_hello(hello)) == hello
    welcome = answer_hello(hello, hello)
    assert decode_welcome(encode_welcome(welcome)) == welcome


def test_a_refusal_comes_back_as_it_was() -> None:
    refused = answer_hello(replace(RUNNER, protocol=ProtocolVersion(7, 0)), TRAINER)
    assert decode_welcome(encode_welcome(refused)) == refused


def test_of_a_hello_of_another_major_version_only_the_frozen_fields_are_read() -> None:
    # Field 3 has become a number and field 4 is no UTF-8: this major version could not read either.
    message = b"\x0a\x02\x08\x02" + b"\x12\x01x" + b"\x18\x05" + b"\x22\x01\xff"
    assert decode_hello(message) == Hello(component="x", protocol=ProtocolVersion(2, 0))


def test_a_refusal_by_another_major_version_is_understood() -> None:
    message = b"\x0a\x06\x08\x63\x12\x02no" + b"\x12\x02\x08\x02" + b"\x1a\x01y" + b"\x22\x01\xff"
    welcome = decode_welcome(message)
    assert (welcome.component, welcome.protocol) == ("y", ProtocolVersion(2, 0))
    assert welcome.refusal is not None
    assert (welcome.refusal.reason, welcome.refusal.sentence) == (RefusalReason.UNKNOWN, "no")


def test_a_welcome_by_another_major_version_is_an_error() -> None:
    message = encode_welcome(Welcome(component="y", protocol=ProtocolVersion(2, 0)))
    with pytest.raises(WireError, match="y welcomes with protocol 2"):
        decode_welcome(message)


@pytest.mark.parametrize("message", [b"", b"\xff", b"\x12\x01x"])
def test_who_does_not_say_its_protocol_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        decode_hello(message)


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("Hello", {"protocol": 1, "component": 2}),
        ("Welcome", {"refusal": 1, "protocol": 2, "component": 3}),
        ("FrozenHello", {"protocol": 1, "component": 2}),
        ("FrozenWelcome", {"refusal": 1, "protocol": 2, "component": 3}),
        ("Refusal", {"reason": 1, "sentence": 2}),
        ("ProtocolVersion", {"major": 1, "minor": 2}),
    ],
)
def test_the_frozen_fields_keep_their_numbers(name: str, frozen: dict[str, int]) -> None:
    fields = handshake_pb2.DESCRIPTOR.message_types_by_name[name].fields_by_name
    assert {field: fields[field].number for field in frozen} == frozen


def test_what_a_peer_calls_itself_is_one_line_without_control_characters() -> None:
    hello = decode_hello(
        encode_hello(Hello(component="farm\x1b[31m\nrefused nobody", versions={"\x07": "\r"}))
    )
    assert (hello.component, hello.versions) == ("farm [31m refused nobody", {" ": " "})


@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        (Hello(component="x" * 5000), "max_text_characters is 4096 and 5000 came"),
        (Hello(component="x", capabilities=frozenset(map(str, range(300)))), "max_names is 256 and 300 came"),
        (Hello(component="x", versions=dict.fromkeys(map(str, range(300)), "1")), "max_names is 256 and 300"),
    ],
)
def test_an_introduction_is_short(hello: Hello, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        decode_hello(encode_hello(hello))
