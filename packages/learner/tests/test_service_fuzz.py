"""Whatever bytes an algorithm sends, the learner service ends its run or trains, and nothing grows."""

from __future__ import annotations

import logging
import os
import random
import resource
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.learner import LearnerGroupSettings, LearnerPlan, MultiAgentPlan, PPOSettings, StackPlan
from outrider.learner.service.learner_service import LearnerService
from outrider.learner.service.served_groups import OneLearner
from outrider.learner.service.service_plan import plan_message, stack_message
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.testing.mutated_messages import SilentLine, mutated
from outrider.wire import (
    BoxSpace,
    DiscreteSpace,
    Hello,
    WireError,
    encode_fragment,
    encode_learn_request,
    encode_tree,
    session,
)

NUM_MESSAGES = int(os.environ.get("OUTRIDER_FUZZ_MESSAGES", "2000"))
HELLO = encode_learn_request(Hello(component="a liar"))
START = encode_learn_request(session.LearnStart(asynchronous=False))
OTHERS = [
    encode_learn_request(each)
    for each in (
        session.LearnStateRequest(1),
        session.LearnStart(asynchronous=True),
        session.Goodbye(reason=session.GoodbyeReason.FAILED, sentence="no"),
    )
]


def plan() -> LearnerPlan:
    recipe = PolicyRecipe(
        observation_space=BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(4,)),
        seed=3,
    )
    training = PPOSettings(minibatch_size=100, num_epochs=1)
    return LearnerPlan(
        algorithm="ppo", training=training, policy=recipe, settings=LearnerGroupSettings(), seed=5
    )


def plan_of_two() -> MultiAgentPlan:
    one = plan()
    stack = StackPlan(name="two", policy=one.policy, training=one.training, seeds={0: 1, 1: 2})
    return MultiAgentPlan(algorithm="ppo", stacks=(stack,), settings=LearnerGroupSettings(), seed=5)


class Modest:
    """Makes no learners but those of the plans above: others may be as large as they like."""

    num_learners = 1

    def make(self, made: LearnerPlan) -> Any:
        if plan_message(made) != plan_message(plan()):
            raise ValueError("this is another plan")
        return OneLearner().make(made)

    def make_async(self, made: LearnerPlan) -> Any:
        raise ValueError(f"{made.algorithm} does not train by itself")

    def make_policies(self, made: MultiAgentPlan) -> Any:
        if plan_message(made) != plan_message(plan_of_two()):
            raise ValueError("this is another plan")
        return OneLearner().make_policies(made)

    def make_async_policies(self, made: MultiAgentPlan) -> Any:
        raise ValueError(f"{made.algorithm} does not train by itself")

    def close(self) -> None: ...


ADDED = stack_message(replace(plan_of_two().stacks[0], seeds={2: 1}))
CALLS: list[dict[str, Any]] = [
    {"call": "policies"},
    {"call": "policy_state", "number": 1},
    {"call": "add", "stack": ADDED, "like": 0, "state": None},
    {"call": "remove", "number": 1},
    {"call": "freeze", "numbers": [0, 1]},
    {"call": "thaw", "numbers": [0]},
]
POLICIES = encode_learn_request(session.LearnPolicies(1))


class Algorithm:
    """Says things to a service, which answers at once."""

    def __init__(self, service: LearnerService) -> None:
        self.service = service
        self.line = SilentLine()
        self.sequence = 0
        service.opened(self.line)

    @property
    def num_updates(self) -> int:
        return 0 if self.service.run is None else self.service.run.num_updates

    def say(self, head: bytes, attachment: bytes = b"") -> None:
        if self.line.is_closed:
            return
        try:
            self.service.received(self.line, head, memoryview(attachment))
        except WireError:
            self.line.close()  # as a connection does
        self.settle()

    def leave(self) -> None:
        self.service.closed(self.line, "closed")
        self.settle()

    def settle(self) -> None:
        while self.service._events.qsize():
            self.service._step()


@pytest.mark.parametrize("made", [plan(), plan_of_two()], ids=["one policy", "two policies"])
def test_mutated_requests_cost_their_sender_the_run_and_nothing_else(
    caplog: pytest.LogCaptureFixture, lab: Any, made: LearnerPlan | MultiAgentPlan
) -> None:
    caplog.set_level(logging.CRITICAL, "outrider.learner")
    tree = encode_tree({"plan": plan_message(made), "state": None}).to_bytes()
    acted = lab.fragment(plan().policy.build(), [5], seed=0)
    fragment = encode_fragment(acted).to_bytes()
    service, draw = LearnerService(Modest()), random.Random(0)
    peer, num_cut_off, num_updates, used_kib = Algorithm(service), 0, 0, 0
    for number in range(NUM_MESSAGES):
        if peer.line.is_closed:
            num_cut_off += 1
            peer.leave()
            peer = Algorithm(service)
        if peer.sequence == 0 and draw.random() < 0.9:
            peer.say(HELLO)
            peer.say(START, tree if draw.random() < 0.9 else mutated(tree, draw))
        peer.sequence += 1
        this = encode_learn_request(session.LearnFragment(peer.sequence))
        update = encode_learn_request(session.LearnUpdate(peer.sequence))
        before = peer.num_updates
        if draw.random() < 0.9:
            peer.say(this, fragment if draw.random() < 0.95 else mutated(fragment, draw))
            peer.say(update)
        elif draw.random() < 0.5:
            call = encode_tree(draw.choice(CALLS)).to_bytes()
            peer.say(POLICIES, call if draw.random() < 0.5 else mutated(call, draw))
            peer.sequence -= 1
        else:
            head = draw.choice((HELLO, START, this, update, *OTHERS))
            peer.say(mutated(head, draw), draw.choice((tree, fragment, mutated(tree, draw))))
        num_updates += peer.num_updates > before
        if number == NUM_MESSAGES // 2:
            used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peer.leave()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used_kib
    print(f"{num_updates} updates, {num_cut_off} cut off, {grown_kib} KiB more than {used_kib}")
    assert num_updates > NUM_MESSAGES // 10
    assert num_cut_off > NUM_MESSAGES // 50
    assert grown_kib < 20 * 1024
