"""What is said of agents crosses unchanged where it keeps the rules, and is refused where it breaks one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import process_time
from typing import Any

import numpy as np
import pytest

from outrider.testing.stream_messages import AGENTS, ASSIGNMENT_OF_TEAM, JOIN_OF_AGENTS
from outrider.wire import (
    Agents,
    BoxSpace,
    DiscreteSpace,
    Limits,
    WireError,
    decode_sample_request,
    decode_sample_response,
    encode_sample_request,
    encode_sample_response,
    session,
)
from outrider.wire.v1 import runner_service_pb2

FIRST, LAST = AGENTS.groups


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"names": ()}, "there are no agents"),
        ({"names": ("red", "", "referee")}, "agent 1 has no name"),
        ({"names": ("red", "red", "referee")}, "'red' is named twice"),
        ({"groups": (FIRST,)}, "groups have 2 slots of 3 agents"),
        ({"groups": (FIRST, replace(LAST, slots=(1,)))}, "each is in one group, once"),
        ({"groups": (replace(FIRST, slots=(1, 0)), LAST)}, r"slots \[1, 0\]; they ascend"),
        ({"groups": (FIRST, LAST, replace(LAST, slots=()))}, r"slots \[\]; they ascend, and there is one"),
        ({"groups": (LAST, FIRST)}, r"begin with slots \[2, 0\]; they come in the order"),
        (
            {"state_space": BoxSpace(low=np.zeros((2, 2)), high=np.ones((2, 2)))},
            r"shape \(2, 2\); it has one",
        ),
    ],
)
def test_agents_that_break_a_rule_are_refused(other: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(AGENTS, **other)


def test_a_name_that_comes_twice_is_found_at_once_among_as_many_as_may_come() -> None:
    names = tuple(map(str, range(Limits().max_agents - 1)))
    began = process_time()
    with pytest.raises(ValueError, match="'65534' is named twice"):
        replace(AGENTS, names=(*names, names[-1]))
    assert process_time() - began < 1.0, "a stranger's join is read while all others wait"


def test_the_group_of_each_agent_is_known() -> None:
    assert [AGENTS.group_of(slot) for slot in range(3)] == [FIRST, FIRST, LAST]


def _join(change: Callable[[Any], None]) -> bytes:
    message = runner_service_pb2.SampleRequest.FromString(encode_sample_request(JOIN_OF_AGENTS))
    change(message.join.agents)
    return bytes(message.SerializeToString())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda agents: agents.names.append("red"), "'red' is named twice"),
        (lambda agents: agents.groups[0].slots.append(2), "groups have 4 slots of 3 agents"),
        (lambda agents: agents.groups[0].ClearField("observation_space"), "a space of no kind known"),
        (lambda agents: agents.state_space.discrete.SetInParent(), "a Discrete of 0 values"),
        (lambda agents: agents.ClearField("names"), "there are no agents"),
    ],
)
def test_what_a_peer_says_of_its_agents_is_checked(change: Callable[[Any], None], sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        decode_sample_request(_join(change))


def test_a_state_that_is_no_array_is_refused() -> None:
    def change(agents: Any) -> None:
        agents.state_space.discrete.num_values = 3

    with pytest.raises(WireError, match="a global state is a DiscreteSpace; it is a Box"):
        decode_sample_request(_join(change))


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (Limits(max_agents=2), "max_agents is 2 and 3 came"),
        (Limits(max_text_characters=6), "max_text_characters is 6 and"),
        (Limits(max_spaces=1), "max_spaces is 1 and"),
    ],
)
def test_what_is_said_of_agents_is_limited(limits: Limits, sentence: str) -> None:
    join = replace(JOIN_OF_AGENTS, name="", hello=session.Hello(component="x"))
    with pytest.raises(WireError, match=sentence):
        decode_sample_request(encode_sample_request(join), limits)


def test_slots_are_counted_before_they_are_sorted() -> None:
    message = _join(lambda agents: agents.groups[0].slots.extend([0] * 10))
    with pytest.raises(WireError, match="max_agents is 4 and 13 came"):
        decode_sample_request(message, Limits(max_agents=4))


def test_a_team_is_copies_or_agents() -> None:
    assert ASSIGNMENT_OF_TEAM.team is not None
    wrong = replace(ASSIGNMENT_OF_TEAM, team=replace(ASSIGNMENT_OF_TEAM.team, num_copies=3))
    with pytest.raises(ValueError, match="num_copies is 3 and there are 2 agents"):
        encode_sample_response(wrong)
    message = runner_service_pb2.SampleResponse.FromString(encode_sample_response(ASSIGNMENT_OF_TEAM))
    message.assignment.team.num_copies = 5
    with pytest.raises(WireError, match="num_copies is 5 and there are 2 agents"):
        decode_sample_response(message.SerializeToString())


@pytest.mark.parametrize(
    "wanted",
    [
        session.PoliciesWanted(request=1, policies=(-1,)),
        session.PoliciesWanted(request=1, policies=(2, 2)),
        session.PoliciesWanted(request=1, policies=(), dropped=(4, 4)),
    ],
)
def test_policies_are_wanted_by_number_once(wanted: session.PoliciesWanted) -> None:
    with pytest.raises(ValueError, match="numbers from 0, each once"):
        encode_sample_request(wanted)
    message = runner_service_pb2.SampleRequest()
    message.policies_wanted.request = 1
    message.policies_wanted.policies.extend(wanted.policies)
    message.policies_wanted.dropped.extend(wanted.dropped)
    with pytest.raises(WireError, match="numbers from 0, each once"):
        decode_sample_request(message.SerializeToString())


def test_no_more_policies_are_wanted_than_are_allowed() -> None:
    wanted = encode_sample_request(session.PoliciesWanted(request=1, policies=(0, 1, 2)))
    with pytest.raises(WireError, match="max_policies is 2 and 3 came"):
        decode_sample_request(wanted, Limits(max_policies=2))


def test_agents_of_equal_spaces_may_be_thousands() -> None:
    names = tuple(f"agent_{index}" for index in range(10_000))
    group = replace(FIRST, slots=tuple(range(10_000)), action_space=DiscreteSpace(num_values=2))
    join = replace(JOIN_OF_AGENTS, agents=Agents(names=names, groups=(group,)))
    found = decode_sample_request(encode_sample_request(join))
    assert isinstance(found, session.Join)
    assert found.agents is not None
    assert found.agents.names == names
    assert found.agents.groups[0].slots == group.slots
