"""What an invitation says of what runners act with: here several policies for several agents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from outrider.envrunner.cast import Cast
from outrider.envrunner.column_rules import ColumnRules
from outrider.envrunner.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.multi_agent_rules import MultiAgentRules
from outrider.envrunner.weights_selection import WeightsSelection
from outrider.transport import WeightsReference
from outrider.wire import Bytes, PolicyGraph, Refusal, RefusalReason, encode_tree
from outrider.wire.session import Join


class InvitedPolicies:
    """Several policies, of which a run may have others later."""

    is_exported = False

    def __init__(self, plan: MultiAgentPlan) -> None:
        """Build what cannot be exported, which needs torch."""
        self._plan = plan
        self._parts = {stack.name: _Architecture(plan, stack) for stack in plan.stacks}
        self.fingerprint = _joint(self._parts)
        self.attachment: Sequence[Bytes] = encode_tree({}).pieces()  # our own processes have the plan
        self._rules = MultiAgentRules(
            columns=self._columns(self._parts),
            policies=plan.policies,
            num_agents=len(plan.agents),
            num_steps=plan.num_steps,
            num_environments=plan.settings.num_envs_per_env_runner,
            has_central_critic=plan.has_central_critic,
        )
        self._fingerprints = {name: part.fingerprint for name, part in self._parts.items()}
        self._selection = WeightsSelection(plan.played())

    @property
    def rules(self) -> MultiAgentRules:
        """What fragments look like."""
        return self._rules

    def misfit(self, join: Join, *, run: str, is_stranger: bool) -> Refusal | None:
        """Let in whom the run has started itself."""
        if not is_stranger:
            return None
        return Refusal(
            reason=RefusalReason.CAPABILITY,
            sentence=(
                f"{run} has several agents, for which {join.hello.component} cannot sample; let the run "
                "start its runners itself"
            ),
        )

    def check_weights(self, weights: WeightsReference) -> None:
        """Compare the fingerprint of each stack."""
        for stack in weights.load().stacks:
            expected = self._fingerprints.get(stack.name)
            if stack.fingerprint != expected:
                raise ValueError(
                    f"weights of stack {stack.name!r} fit the module {stack.fingerprint}, and runners act "
                    f"with {expected}; export the policies again"
                )

    def needed(self, weights: WeightsReference, since: int | None) -> WeightsReference:
        """Return those of policies that may play and changed since then."""
        return self._selection.of(weights, since)

    def recast(self, cast: Cast) -> None:
        """Let fragments of more policies in, and send the weights of those that may play."""
        plan = self._plan.recast(cast)
        parts = {name: self._parts[like] for name, like in cast.stacks.items()}
        self._rules.also(self._columns(parts), plan.policies)
        self._fingerprints |= {name: part.fingerprint for name, part in parts.items()}
        self._selection.also(plan.played())

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
        self.columns = ColumnRules(
            observation_space=space,
            action_heads=heads,
            state=state,
            record_action_parameters=plan.settings.record_action_parameters,
        )


def _joint(parts: dict[str, _Architecture]) -> str:
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        digest.update(f"{name}/{part.fingerprint}\n".encode())
    return digest.hexdigest()[:32]
