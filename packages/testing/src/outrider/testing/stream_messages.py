"""An example of everything that is said on a stream, by the stream's direction and a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from outrider.testing.messages import example_spaces
from outrider.wire import (
    AgentGroup,
    Agents,
    BoxSpace,
    DictSpace,
    Hello,
    ProtocolVersion,
    answer_hello,
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
    session,
)


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a stream."""

    encode: Callable[..., bytes]
    decode: Callable[..., Any]
    messages: Mapping[str, Any]
    """An example of each kind by name, and of some kinds more."""


HELLO = Hello(component="envrunner 0.1.0", protocol=ProtocolVersion(1, 0), capabilities=frozenset({"zstd"}))
TERMS = session.Terms(heartbeat_interval_s=3.0, silence_timeout_s=10.5, session_timeout_s=60.0)
WELCOME = session.SessionWelcome(
    welcome=answer_hello(HELLO, HELLO), session="s3cret", resumed=True, acknowledged=4, terms=TERMS
)
REFUSAL = answer_hello(Hello(component="envrunner 9", protocol=ProtocolVersion(9, 0)), HELLO)
JOIN = session.Join(
    hello=HELLO,
    name="farm-7 runner 3",
    observation_space=example_spaces()["dict"],
    action_space=example_spaces()["discrete"],
    session="s3cret",
    last_ask=7,
    weights_version=0,
    num_environments=2,
)
AGENTS = Agents(
    names=("red", "blue", "referee"),
    groups=(
        AgentGroup(
            slots=(0, 1),
            observation_space=example_spaces()["box"],
            action_space=example_spaces()["discrete"],
        ),
        AgentGroup(
            slots=(2,), observation_space=example_spaces()["dict"], action_space=example_spaces()["tuple"]
        ),
    ),
    state_space=BoxSpace(low=np.full(5, -1, np.float32), high=np.ones(5, np.float32)),
)
JOIN_OF_AGENTS = session.Join(
    hello=HELLO,
    name="farm-8 runner 0",
    observation_space=DictSpace(spaces={}),
    action_space=DictSpace(spaces={}),
    agents=AGENTS,
    maps_policies=True,
)
FIRST_STEP = session.Step(
    sequence=1,
    observations={"": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)},
    rewards=np.zeros(0, np.float32),
    terminated=np.zeros(0, np.bool_),
    truncated=np.zeros(0, np.bool_),
    ended=np.zeros(0, np.int64),
    final_observations={},
)
STEP = session.Step(
    sequence=2,
    observations=FIRST_STEP.observations,
    rewards=np.array([1.0, -2.0, 0.5], np.float32),
    terminated=np.array([True, False, False]),
    truncated=np.array([False, False, True]),
    ended=np.array([0, 2]),
    final_observations={"": np.array([[7.0, 8.0], [9.0, 10.0]], np.float32)},
)
ACTION = session.Action(sequence=2, actions={"/a": np.array([3, 0, 1]), "/b": np.zeros((3, 2), np.float32)})
GOODBYE = session.Goodbye(reason=session.GoodbyeReason.MISBEHAVED, sentence="Fragment 3 came twice.")
ASSIGNMENT = session.Assignment(
    runner=3,
    incarnation=1,
    num_environments=8,
    num_steps=128,
    seed=2**63,
    explore=False,
    record_action_parameters=True,
    settings={"env_config": {"size": 3, "weights": [1.5, None]}},
)
ASSIGNMENT_OF_TEAM = session.Assignment(
    runner=3,
    incarnation=1,
    num_environments=8,
    num_steps=128,
    seed=7,
    team=session.Team(agents=("0", "1"), num_copies=2, has_central_critic=True),
)
TREE = {
    "rng": {"state": 2**100, "counter": -(2**70)},
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "flags": np.array([True, False]),
    "names": ["a", None, "ü", True, 0.5, -3, b"\x00\xff"],
    "empty": {"map": {}, "list": [], "array": np.zeros((0, 2), np.int64), "bytes": b""},
}
"""An example of a tree, with a value of every kind."""
_ALL = {"goodbye": GOODBYE, "heartbeat": session.Heartbeat()}
DIRECTIONS: dict[str, Direction] = {
    "sample_request": Direction(
        encode_sample_request,
        decode_sample_request,
        {
            "join": JOIN,
            "join_of_agents": JOIN_OF_AGENTS,
            "ready": session.Ready(),
            "fragment": session.FragmentDelivery(9),
            "state": session.StateDelivery(1),
            "no_state": session.StateDelivery(2, "the environment has no state"),
            "fragment_with_weights": session.FragmentDelivery(9, 4),
            "policies_wanted": session.PoliciesWanted(request=2, policies=(7, 0, 2**31 - 1), dropped=(3,)),
            "nothing_wanted": session.PoliciesWanted(request=1, policies=()),
            "leaving": session.Leaving("drained"),
            **_ALL,
        },
    ),
    "sample_response": Direction(
        encode_sample_response,
        decode_sample_response,
        {
            "welcome": WELCOME,
            "refusal": session.SessionWelcome(welcome=REFUSAL),
            "assignment": ASSIGNMENT,
            "least_assignment": session.Assignment(
                runner=0, incarnation=0, num_environments=1, num_steps=1, seed=0
            ),
            "assignment_of_team": ASSIGNMENT_OF_TEAM,
            "weights": session.WeightsDelivery(0),
            "ask": session.Ask(1),
            "ask_for_version": session.Ask(2**63 - 1, 0),
            "acknowledgement": session.Acknowledgement(0),
            "state": session.StateRequest(1),
            "policies": session.PoliciesDelivery(2),
            **_ALL,
        },
    ),
    "act_request": Direction(
        encode_act_request,
        decode_act_request,
        {"join": JOIN, "first_step": FIRST_STEP, "step": STEP, **_ALL},
    ),
    "act_response": Direction(
        encode_act_response, decode_act_response, {"welcome": WELCOME, "action": ACTION, **_ALL}
    ),
    "learn_request": Direction(
        encode_learn_request,
        decode_learn_request,
        {
            "hello": HELLO,
            "start": session.LearnStart(asynchronous=True),
            "fragment": session.LearnFragment(1),
            "update": session.LearnUpdate(2),
            "state": session.LearnStateRequest(1),
            "policies": session.LearnPolicies(1),
            **_ALL,
        },
    ),
    "learn_response": Direction(
        encode_learn_response,
        decode_learn_response,
        {
            "welcome": session.LearnWelcome(welcome=answer_hello(HELLO, HELLO), terms=TERMS),
            "refusal": session.LearnWelcome(welcome=REFUSAL),
            "ready": session.LearnReady(num_learners=2, room=0),
            "weights": session.LearnWeights(5),
            "changed_weights": session.LearnWeights(7, since=5),
            "report": session.LearnReport(2, 5),
            "state": session.LearnState(1),
            "room": session.LearnRoom(10),
            "policies": session.LearnPoliciesAnswer(1),
            **_ALL,
        },
    ),
}
"""Every direction of every stream by name."""
