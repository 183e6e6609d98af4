"""What an invitation says of what runners act with: here several policies for several agents."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.gateway.agents_misfit import agents_misfit
from outrider.envrunner.gateway.column_rules import ColumnRules
from outrider.envrunner.gateway.known_players import KnownPlayers, fitting
from outrider.envrunner.gateway.multi_agent_rules import MultiAgentRules
from outrider.envrunner.gateway.team_message import team_message
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups
from outrider.envrunner.policies.weights_selection import HeldElsewhere
from outrider.transport import WeightsReference
from outrider.wire import Bytes, PolicyGraph, Refusal, RefusalReason, Space, encode_tree, leaf_shape, leaves
from outrider.wire.session import Join, Team


class InvitedPolicies:
    """Several policies, of which a run may have others later."""

    def __init__(self, plan: MultiAgentPlan) -> None:
        """Build what cannot be exported, which needs torch."""
        self._plan = plan
        self._parts = {stack.name: _Architecture(plan, stack) for stack in plan.stacks}
        self.fingerprint = _joint(self._parts)
        self.team = Team(
            agents=plan.agents,
            num_copies=plan.num_agents or 0,
            has_central_critic=plan.has_central_critic,
        )
        self.is_exported = plan.is_exported
        """Whether strangers can act with it."""
        is_for_strangers = self.is_exported and plan.environment_agents is not None
        # Our own processes have the plan already.
        told = team_message(plan) if is_for_strangers else {}
        self.attachment: Sequence[Bytes] = encode_tree(told).pieces()
        self.players = KnownPlayers(plan.agents, _fitting(plan, self._parts))
        """Who may play for whom, as far as that is known."""
        self.players.also(_assigned(plan), {})
        self._rules = MultiAgentRules(
            columns=self._columns(self._parts),
            policies=plan.policies,
            players=self.players,
            num_agents=len(plan.agents),
            num_steps=plan.num_steps,
            num_environments=plan.settings.num_envs_per_env_runner,
            has_central_critic=plan.has_central_critic,
            num_critic_numbers=_num_critic_numbers(plan),
        )
        self._fingerprints = {name: part.fingerprint for name, part in self._parts.items()}
        self._selection = plan.weights_selection()

    @property
    def rules(self) -> MultiAgentRules:
        """What fragments look like."""
        return self._rules

    def misfit(self, join: Join, *, run: str, is_stranger: bool) -> Refusal | None:
        """Compare the agents of a stranger, whom the run has not started itself."""
        who = join.hello.component
        if not is_stranger:
            return None
        if not self.is_exported:
            return Refusal(
                reason=RefusalReason.CAPABILITY,
                sentence=(
                    f"{run} trains policies that cannot be exported, with which {who} cannot act; use "
                    "networks that can be exported, or runners that the run starts"
                ),
            )
        if self._plan.environment_agents is None:
            return Refusal(
                reason=RefusalReason.CAPABILITY,
                sentence=f"{run} takes no runners but its own; let it listen (--listen) for {who}",
            )
        found = agents_misfit(join, self._plan.environment_agents, self.team)
        if found is not None:
            return Refusal(
                reason=RefusalReason.ENVIRONMENT,
                sentence=f"{found}; give both the same environment and arguments",
            )
        if not isinstance(self._plan.mapping, Matchups) and not join.maps_policies:
            return Refusal(
                reason=RefusalReason.CAPABILITY,
                sentence=(
                    f"{run} maps agents to policies by a function, which cannot cross a network, and {who} "
                    "has none; start the farm with --policy-mapping-fn module:function, or let the run have "
                    "matchups, which are plain data"
                ),
            )
        return None

    def check_weights(self, weights: WeightsReference) -> None:
        """Compare the fingerprint of each stack."""
        for stack in weights.load().stacks:
            expected = self._fingerprints.get(stack.name)
            if stack.fingerprint != expected:
                raise ValueError(
                    f"weights of stack {stack.name!r} fit the module {stack.fingerprint}, and runners act "
                    f"with {expected}; export the policies again"
                )

    def needed(self, weights: WeightsReference, since: int | None, held: HeldElsewhere) -> WeightsReference:
        """Return those of policies that may play, or are held, and changed since then."""
        return self._selection.for_runner(weights, since, held)

    def check_wanted(self, policies: NDArray[np.int32]) -> None:
        """Let it want policies of the run, and no more than it may hold."""
        if len(policies) > self._selection.at_most:
            raise ValueError(
                f"it wants {len(policies)} policies at once, and max_policies_per_env_runner lets it hold "
                f"{self._selection.at_most}"
            )
        for number in policies.tolist():
            if number not in self._rules.policies:
                raise ValueError(f"it wants policy {number}, which the run does not have")

    def recast(self, cast: Cast) -> None:
        """Let fragments of more policies in, and send the weights of those that may play."""
        plan = self._plan.recast(cast)
        parts = {name: self._parts[like] for name, like in cast.stacks.items()}
        self._rules.also(self._columns(parts), plan.policies)
        self.players.also(_assigned(plan), _fitting(plan, parts))
        self._fingerprints |= {name: part.fingerprint for name, part in parts.items()}
        self._selection.also(plan.played(), policies=frozenset(plan.numbers.values()))

    def _columns(self, parts: dict[str, _Architecture]) -> dict[str, ColumnRules]:
        return {name: part.columns for name, part in parts.items()}


class _Architecture:
    """What policies of one stack are, and what they write."""

    def __init__(self, plan: MultiAgentPlan, stack: StackPlan) -> None:
        if isinstance(stack.policy, PolicyGraph):
            self.fingerprint = stack.policy.fingerprint
            space, heads, state = (
                stack.policy.observation_space,
                stack.policy.action_heads,
                stack.policy.state,
            )
        else:
            module = stack.policy.build()
            self.fingerprint = module.fingerprint()
            space, heads, state = module.observation_space, tuple(module.action_heads), module.state_spec
        self.observation_space, self.action_heads = space, heads
        self.columns = ColumnRules(
            observation_space=space,
            action_heads=heads,
            state=state,
            record_action_parameters=plan.settings.record_action_parameters,
        )


def _assigned(plan: MultiAgentPlan) -> Sequence[NDArray[np.int32]] | None:
    """Return the policies of each matchup; None where a function maps."""
    mapping = plan.policy_mapping()
    return mapping.assigned if isinstance(mapping, MatchupMapping) else None


def _fitting(plan: MultiAgentPlan, parts: dict[str, _Architecture]) -> dict[str, NDArray[np.bool_]]:
    """Return which agents each stack fits; of none where only our own runners come."""
    agents = plan.environment_agents
    if agents is None:
        return {}
    return {name: fitting(agents, part.observation_space, part.action_heads) for name, part in parts.items()}


def _joint(parts: dict[str, _Architecture]) -> str:
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        digest.update(f"{name}/{part.fingerprint}\n".encode())
    return digest.hexdigest()[:32]


def _num_critic_numbers(plan: MultiAgentPlan) -> int | None:
    """Return how many numbers a critic state has; None where no stranger sends any."""
    agents = plan.environment_agents
    if agents is None or not plan.has_central_critic:
        return None
    if agents.state_space is not None:
        return agents.state_space.low.size
    seen = sum(len(group.slots) * _num_numbers(group.observation_space) for group in agents.groups)
    return seen + len(agents.names)


def _num_numbers(space: Space) -> int:
    return sum(math.prod(leaf_shape(leaf)) for leaf in leaves(space).values())
