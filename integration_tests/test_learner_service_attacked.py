"""A learner service under attack: who breaks a rule is told which, and an honest run is trained."""

from __future__ import annotations

import pickle
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any, Self

import grpc
import numpy as np
import pytest

from outrider.learner import LearnerGroupSettings, LearnerPlan, PPOSettings
from outrider.learner.service import learner_service
from outrider.learner.service.learner_service import LearnerService
from outrider.learner.service.served_groups import OneLearner
from outrider.learner.service.service_learners import ServiceLearnerGroup
from outrider.learner.service.service_plan import plan_message
from outrider.learner.service.service_terms import LIMITS, SERVICE
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import LocalFragment, grpc_listener
from outrider.transport.grpc_listener import Listener
from outrider.transport.security import ClientSecurity, ServerSecurity
from outrider.wire import (
    BoxSpace,
    DiscreteSpace,
    EpisodeStatistics,
    Fragment,
    Hello,
    Streams,
    encode_fragment,
    encode_learn_request,
    encode_tree,
    session,
)
from outrider.wire.stream import HEARTBEAT, chunk_message, read_stream_message

PATIENCE_S = 10.0
NUM_ROWS = 8


class Unpickled:
    """Leaves a trace where somebody unpickles it."""

    traces: list[str] = []  # noqa: RUF012

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return self.traces.append, ("unpickled",)


PICKLE = pickle.dumps(Unpickled())


def plan() -> LearnerPlan:
    recipe = PolicyRecipe(
        observation_space=BoxSpace(low=np.full(3, -9, np.float32), high=np.full(3, 9, np.float32)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(4,)),
        seed=3,
    )
    settings = LearnerGroupSettings(learner_timeout_s=PATIENCE_S, learner_start_timeout_s=PATIENCE_S)
    training = PPOSettings(minibatch_size=NUM_ROWS, num_epochs=1)
    return LearnerPlan(algorithm="ppo", training=training, policy=recipe, settings=settings, seed=5)


def fragment() -> Fragment:
    """Return a stream of one environment that goes on."""
    zero = np.zeros(1, np.int32)
    observations = np.ones((NUM_ROWS, 3), np.float32)
    return Fragment(
        streams=Streams(lengths=np.array([NUM_ROWS]), policy=zero, environment=zero, agent=zero),
        observations={"": observations},
        actions={"": np.zeros(NUM_ROWS, np.int64)},
        rewards=np.ones(NUM_ROWS, np.float32),
        terminated=np.zeros(NUM_ROWS, np.bool_),
        truncated=np.zeros(NUM_ROWS, np.bool_),
        next_rows=np.array([NUM_ROWS - 1]),
        next_observations={"": observations[:1]},
        action_log_probs=np.full(NUM_ROWS, -0.6931472, np.float32),
        policy_version=np.array([0]),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


HELLO = Hello(component="a liar")
START = session.LearnStart(asynchronous=False)
PLAN = encode_tree({"plan": plan_message(plan()), "state": None}).to_bytes()
SPOILT_PLAN = encode_tree({"plan": plan_message(plan()) | {"policy": PICKLE}, "state": None}).to_bytes()
PICKLED_STATE = encode_tree({"plan": plan_message(plan()), "state": {"model": PICKLE}}).to_bytes()
FRAGMENT = encode_fragment(fragment()).to_bytes()
WIDE = {"": np.ones((NUM_ROWS, 4), np.float32)}
OTHER = replace(fragment(), observations=WIDE, next_observations={"": WIDE[""][:1]})
ANNOUNCED = encode_learn_request(START, attachment_bytes=2**40)


class Peer:
    """Sends whatever bytes it likes over a stream of gRPC."""

    def __init__(self, address: str) -> None:
        self._says: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._call = self._channel.stream_stream(f"/{SERVICE}")(
            iter(self._says.get, None), timeout=PATIENCE_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._says.put(None)
        self._channel.close()

    def say(self, message: bytes | session.LearnRequest, attached: bytes = b"") -> None:
        if not isinstance(message, bytes):
            message = encode_learn_request(message, attachment_bytes=len(attached))
        self._says.put(message)
        if attached:
            self._says.put(chunk_message([attached]))

    def sentence(self) -> tuple[session.GoodbyeReason, str]:
        """Return why this side was sent away."""
        goodbye = None
        with suppress(grpc.RpcError):
            for answer in self._call:
                goodbye = read_stream_message(answer).goodbye or goodbye
        assert goodbye is not None, f"no goodbye came: {self._call.code()}, {self._call.details()}"
        assert goodbye.sentence.isprintable()
        assert len(goodbye.sentence) < 1200
        return goodbye.reason, goodbye.sentence


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_listener, "FIRST_MESSAGE_TIMEOUT_S", 0.5)
        patch.setattr(learner_service, "_HELLO_TIMEOUT_S", 1.0)
        service = LearnerService(OneLearner())
        thread = threading.Thread(target=service.serve)
        thread.start()
        listener = Listener("127.0.0.1:0", {SERVICE: service}, security=ServerSecurity(), limits=LIMITS)
        yield listener.address
        listener.close()
        service.stop("the tests are over")
        thread.join(PATIENCE_S)


def honest_run(address: str) -> ServiceLearnerGroup:
    return ServiceLearnerGroup(plan(), address=address, security=ClientSecurity(insecure=True))


MISBEHAVED, REFUSED = session.GoodbyeReason.MISBEHAVED, session.GoodbyeReason.REFUSED
LATER, FAILED = session.GoodbyeReason.LATER, session.GoodbyeReason.FAILED
BEGUN = [(HELLO, b""), (START, PLAN)]
ATTACKS: dict[str, tuple[list[tuple[Any, bytes]], session.GoodbyeReason, str]] = {
    "no message": ([(b"\xff\xff\xff", b"")], MISBEHAVED, "message of a"),
    "a pickle as a message": ([(PICKLE, b"")], MISBEHAVED, "message of a"),
    "nothing at all": ([], LATER, "no message came within"),
    "heartbeats and no hello": ([(HEARTBEAT, b"")], MISBEHAVED, "no hello came within 1 s"),
    "no hello": ([(session.LearnUpdate(1), b"")], MISBEHAVED, "LearnUpdate came before a hello"),
    "memory first": ([(START, PLAN)], MISBEHAVED, "introduce yourself first"),
    "a fragment before start": (
        [(HELLO, b""), (session.LearnFragment(1), FRAGMENT)],
        MISBEHAVED,
        "there are no learners yet; send a start first",
    ),
    "an update before start": ([(HELLO, b""), (session.LearnUpdate(1), b"")], MISBEHAVED, "no learners yet"),
    "a pickle as a plan": ([(HELLO, b""), (START, PICKLE)], MISBEHAVED, "this tree is refused"),
    "a pickle in a plan": ([(HELLO, b""), (START, SPOILT_PLAN)], REFUSED, "no plan of learners"),
    "a pickle in a state": ([(HELLO, b""), (START, PICKLED_STATE)], REFUSED, "state lacks"),
    "too much": ([(HELLO, b""), (ANNOUNCED, b"")], MISBEHAVED, "max_message_bytes"),
    "chunks of nothing": ([(HELLO, b""), (chunk_message([b"x"]), b"")], MISBEHAVED, "where 0 were to come"),
    "a fragment that is skipped": (
        [*BEGUN, (session.LearnFragment(7), FRAGMENT)],
        MISBEHAVED,
        "fragment 7 came after 0; count up by one",
    ),
    "a fragment twice": (
        [*BEGUN, *[(session.LearnFragment(1), FRAGMENT)] * 2],
        MISBEHAVED,
        "fragment 1 came after 1; count up by one",
    ),
    "a pickle as a fragment": (
        [*BEGUN, (session.LearnFragment(1), PICKLE)],
        MISBEHAVED,
        "this frame is refused",
    ),
    "another shape": (
        [
            *BEGUN,
            (session.LearnFragment(1), encode_fragment(OTHER).to_bytes()),
            (session.LearnUpdate(1), b""),
        ],
        FAILED,
        "shapes cannot be multiplied",
    ),
}


def attack(address: str, messages: list[tuple[Any, bytes]]) -> tuple[session.GoodbyeReason, str]:
    """Say all that, once the run before has left the service, and return how it ends."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with Peer(address) as peer:
            for message, attached in messages:
                peer.say(message, attached)
            reason, said = peer.sentence()
        if "trains another run" not in said:
            return reason, said
    raise AssertionError("the run before never left")


@pytest.mark.parametrize("name", ATTACKS)
def test_who_breaks_a_rule_is_told_which_and_the_next_run_is_trained(address: str, name: str) -> None:
    messages, expected, pattern = ATTACKS[name]
    reason, said = attack(address, messages)
    assert reason is expected, said
    assert re.search(pattern, said), said
    assert not Unpickled.traces
    with closing(honest_run(address)) as group:
        assert np.isfinite(group.update([LocalFragment(fragment())])["policy_loss"])


def test_rewards_that_are_nan_change_no_weights_and_the_run_goes_on(address: str) -> None:
    nan = replace(fragment(), rewards=np.full(NUM_ROWS, np.nan, np.float32))
    with closing(honest_run(address)) as group:
        before = dict(group.publish().load().tensors)
        group.update([LocalFragment(nan)])
        after = dict(group.publish().load().tensors)
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert np.isfinite(group.update([LocalFragment(fragment())])["policy_loss"])


def test_who_comes_while_another_run_is_trained_is_sent_away_and_that_goes_on(address: str) -> None:
    with closing(honest_run(address)) as group:
        for _ in range(3):
            with Peer(address) as peer:
                peer.say(HELLO)
                assert peer.sentence()[0] is LATER
            group.update([LocalFragment(fragment())])
        assert group.publish().version == 3
        assert group.statistics().num_restarts == 0
