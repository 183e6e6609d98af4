"""A gateway whose runners ask for the policies that play, of which there are more than one of them holds.

scene = Scene()
peer = scene.up()
scene.gateway.ask(0, weights(0))
peer.say(wants(1, 0, 3))
assert answered(peer) == [(session.PoliciesDelivery(1), {0: 0, 3: 0})]
"""

# ruff: noqa: ANN401 - the fields of a join and what a look sees have no common type

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
from outrider.envrunner.gateway.gateway import Gateway
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.testing.dialled_gateway import FarmPeer, MemoryPort
from outrider.testing.duel import Duel, duel_plan, duel_weights
from outrider.testing.raw_runner import RawRunner
from outrider.transport import LocalWeights
from outrider.transport.security import ServerSecurity
from outrider.wire import Hello, Weights, decode_weights, session
from outrider.wire.session import GoodbyeReason

_FARM = FarmEnvironment(environment=EnvironmentSettings(Duel))
DEADLINE_S = 20.0
"""After which a wait is stuck."""
_HELD = 4


def plan_of(num_blues: int = 9) -> MultiAgentPlan:
    """Let red meet another blue in each episode: of more than four policies a runner holds four."""
    blues = [
        PolicyEntry(name=f"blue {number}", number=number, stack="blues") for number in range(1, num_blues + 1)
    ]
    return duel_plan(
        settings=EnvRunnerSettings(num_envs_per_env_runner=2, max_policies_per_env_runner=_HELD),
        policies=(PolicyEntry(name="main", number=0, stack="reds"), *blues),
        mapping=Matchups([(1.0, {"red": "main", "blue": blue.name}) for blue in blues]),
    )


PLAN = plan_of()
"""Policies 0 of red, and 1 to 9 of blue."""


def weights(version: int, changed: dict[int, int] | None = None) -> LocalWeights:
    """Return the weights of all policies; those that are not said to have changed are of version 0."""
    changed = dict.fromkeys(range(10), version) if changed is None else changed
    parts = {at: duel_weights(PLAN, version=at) for at in {0, *changed.values()}}
    newest, stacks = parts[0], []
    tensors = {name: tensor.copy() for name, tensor in newest.tensors.items()}
    for stack in newest.stacks:
        versions = stack.versions.copy()
        for place, number in enumerate(stack.policies.tolist()):
            versions[place] = changed.get(number, 0)
            for name, tensor in tensors.items():
                if name.startswith(f"{stack.name}/"):
                    tensor[place] = parts[changed.get(number, 0)].tensors[name][place]
        stacks.append(replace(stack, versions=versions))
    return LocalWeights(replace(newest, version=version, tensors=tensors, stacks=tuple(stacks)))


class Scene:
    """A gateway, and who dials it."""

    def __init__(self, plan: MultiAgentPlan = PLAN) -> None:
        """Nobody has dialled yet."""
        self.port = MemoryPort()
        self.settings = replace(plan.settings, num_env_runners=1, min_runners=1)
        self.gateway = Gateway(
            plan,
            self.settings,
            num_seats=1,
            address="memory",
            security=ServerSecurity(),
            listen=self.port.listen,
        )
        self.peers: list[FarmPeer] = []

    def peer(self) -> FarmPeer:
        """Return a runner of a farm, which samples by itself."""
        self.peers.append(FarmPeer(self.port, _FARM))
        return self.peers[-1]

    def up(
        self, capabilities: frozenset[str] = frozenset({"multi_agent", ON_DEMAND}), **join: Any
    ) -> RawRunner:
        """Return a runner that says only what a test wants, and is ready."""
        hello = Hello(component="a test", capabilities=capabilities)
        peer = RawRunner(self.port)
        peer.say(replace(_FARM.join(hello, name="raw"), **join))
        if not join:
            self.gateway.start(0, incarnation=0)
            peer.say(session.Ready())
            self.gateway.events(0)
        return peer

    def close(self) -> None:
        """End everybody."""
        self.gateway.close()
        for peer in self.peers:
            peer.thread.join(10)
            assert not peer.thread.is_alive()


def wants(request: int, *policies: int, dropped: tuple[int, ...] = ()) -> session.PoliciesWanted:
    """Return how a runner asks for policies."""
    return session.PoliciesWanted(request=request, policies=policies, dropped=dropped)


def came(peer: RawRunner, kind: type[Any]) -> list[tuple[Any, dict[int, int]]]:
    """Return the messages of a kind, each with the versions of the policies that were attached."""
    peer.heard(kind)
    found = []
    for message, attachment in zip(peer.messages, peer.attachments, strict=True):
        if isinstance(message, kind):
            assert attachment is not None
            found.append((message, _versions_of(decode_weights(attachment))))
    return found


def answered(peer: RawRunner, num_answers: int = 1) -> list[tuple[Any, dict[int, int]]]:
    """Wait for so many answers, which come from a thread of their own."""
    until(lambda: len(peer.heard(session.PoliciesDelivery)) >= num_answers)
    return came(peer, session.PoliciesDelivery)


def until(look: Callable[[], Any]) -> Any:
    """Return what a look sees, once that is something."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found


def parting(peer: RawRunner) -> str:
    """Return the sentence that a peer was cut off with."""
    (said,) = peer.heard(session.Goodbye)
    assert said.reason is GoodbyeReason.MISBEHAVED
    return said.sentence


def _versions_of(weights: Weights) -> dict[int, int]:
    return {
        int(number): int(version)
        for stack in weights.stacks
        for number, version in zip(stack.policies, stack.versions, strict=True)
    }
