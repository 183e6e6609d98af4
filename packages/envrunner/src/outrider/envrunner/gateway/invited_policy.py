"""What an invitation says of what runners act with: here one policy; see also `invited_policies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.fragment_rules import FragmentRules
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.weights_selection import HeldElsewhere
from outrider.transport import WeightsReference
from outrider.wire import (
    Bytes,
    Fragment,
    Limits,
    PolicyGraph,
    Refusal,
    RefusalReason,
    Space,
    encode_policy_graph,
    space_difference,
)
from outrider.wire.session import Join, Team


class Rules(Protocol):
    """What a runner was told to sample."""

    def limits(self, limits: Limits) -> Limits:
        """Return what need not be exceeded by what was asked for, however much else may come."""
        ...

    def check(self, fragment: Fragment, *, runner: int) -> None:
        """Raise ValueError with the first rule that a fragment of this runner of the run breaks."""
        ...

    def check_versions(self, fragment: Fragment, oldest: int, newest: int) -> int | None:
        """Return the newest version of the weights that acted, None where there are no rows.

        Raises ValueError where others acted than those asked for.
        """
        ...

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError for a runner's state of which rows would come that `check` refuses."""
        ...

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Let rows in that come of a state which a runner is given."""
        ...


class Invited(Protocol):
    """What runners act with."""

    @property
    def is_exported(self) -> bool:
        """Whether strangers can act with it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the module."""
        ...

    @property
    def attachment(self) -> Sequence[Bytes]:
        """What goes with an assignment."""
        ...

    @property
    def team(self) -> Team | None:
        """Who they act for; None where there is one agent."""
        ...

    @property
    def rules(self) -> Rules:
        """What fragments look like."""
        ...

    def misfit(self, join: Join, *, run: str, is_stranger: bool) -> Refusal | None:
        """Return why a peer does not fit; None where it does. `run` is what the run is called."""
        ...

    def check_weights(self, weights: WeightsReference) -> None:
        """Raise ValueError for weights of another module; may block while they are fetched."""
        ...

    def needed(self, weights: WeightsReference, since: int | None, held: HeldElsewhere) -> WeightsReference:
        """Return what a runner needs that has acted with version `since`, and note that it has it.

        None: it has acted with none.
        """
        ...

    def check_wanted(self, policies: NDArray[np.int32]) -> None:
        """Raise ValueError where a runner has no reason to want the weights of these policies."""
        ...

    def recast(self, cast: Cast) -> None:
        """Go on with other policies. Raises ValueError where there is one without a name."""
        ...


class InvitedPolicy:
    """One policy for one agent."""

    team = None

    def __init__(self, plan: RunnerPlan) -> None:
        """Build a policy that cannot be exported, which needs torch."""
        self._graph, self.is_exported = _graph(plan)
        self.fingerprint = self._graph.fingerprint
        self.attachment: Sequence[Bytes] = encode_policy_graph(self._graph).pieces()
        self.rules: Rules = FragmentRules(
            observation_space=self._graph.observation_space,
            action_heads=self._graph.action_heads,
            state=self._graph.state,
            num_steps=plan.num_steps,
            num_environments=plan.settings.num_envs_per_env_runner,
            record_action_parameters=plan.settings.record_action_parameters,
        )

    def misfit(self, join: Join, *, run: str, is_stranger: bool) -> Refusal | None:
        """Compare the spaces."""
        who = join.hello.component
        if is_stranger and not self.is_exported:
            return Refusal(
                reason=RefusalReason.CAPABILITY,
                sentence=(
                    f"{run} trains a policy that cannot be exported, with which {who} cannot act; use a "
                    "network that can be exported, or runners that the run starts"
                ),
            )
        if join.agents is not None:
            names = ", ".join(repr(name) for name in join.agents.names[:4])
            return Refusal(
                reason=RefusalReason.ENVIRONMENT,
                sentence=(
                    f"the environment of {who} has several agents, {names}, and {run} trains one policy for "
                    "one agent; give both the same environment, or let the run have several agents too"
                ),
            )
        return spaces_misfit(join, self._graph.observation_space, self._graph.action_space)

    def check_weights(self, weights: WeightsReference) -> None:
        """Compare fingerprints."""
        fingerprint = weights.load().fingerprint
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"weights fit the module {fingerprint}, and runners act with {self.fingerprint}; export the "
                "policy again"
            )

    def needed(self, weights: WeightsReference, since: int | None, held: HeldElsewhere) -> WeightsReference:
        """Return all of it: one policy changes with every update."""
        return weights

    def check_wanted(self, policies: NDArray[np.int32]) -> None:
        """Refuse."""
        raise ValueError(f"it wants {len(policies)} policies, and there is one, which is sent unasked")

    def recast(self, cast: Cast) -> None:
        """Refuse."""
        raise ValueError(f"one policy plays here, and {len(cast.policies)} by name cannot take its place")


def spaces_misfit(join: Join, observation_space: Space, action_space: Space) -> Refusal | None:
    """Return why a peer's environment is another than that of the run; None where it is not."""
    for name, ours in (("observation_space", observation_space), ("action_space", action_space)):
        difference = space_difference(getattr(join, name), ours, there="on the farm", here="in the run")
        if difference is not None:
            return Refusal(
                reason=RefusalReason.ENVIRONMENT,
                sentence=(
                    f"the {name} of {join.hello.component} differs from that of the run: {difference}; give "
                    "both the same environment and arguments"
                ),
            )
    return None


def _graph(plan: RunnerPlan) -> tuple[PolicyGraph, bool]:
    """Return how runners act, and whether that is all that they need.

    Where it is not, the graph has no model: whoever gets it has the recipe.
    """
    if isinstance(plan.policy, PolicyGraph):
        return plan.policy, True
    module = plan.policy.build()
    spaces = spaces_of(plan.environment, plan.settings.gym_env_vectorize_mode)
    graph = PolicyGraph(
        model=b"",
        fingerprint=module.fingerprint(),
        observation_space=module.observation_space,
        action_space=spaces[1],
        action_heads=tuple(module.action_heads),
        state=module.state_spec,
    )
    return graph, False
