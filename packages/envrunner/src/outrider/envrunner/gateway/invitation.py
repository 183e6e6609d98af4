"""What a run tells those who come from elsewhere: whom it lets in, and what they are to sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.invited_policy import Invited, InvitedPolicy, Rules
from outrider.envrunner.introduction import introduction
from outrider.envrunner.policies.some_policies import of_policies
from outrider.envrunner.policies.weights_selection import ON_DEMAND, HeldElsewhere
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.transport import LocalWeights, WeightsReference
from outrider.transport.received import weights_pieces
from outrider.wire import (
    Bytes,
    Limits,
    Welcome,
    answer_hello,
    capabilities,
)
from outrider.wire.session import Assignment, Join, Terms

if TYPE_CHECKING:
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
    from outrider.envrunner.policies.cast import Cast

_HEARTBEAT_S, _SILENCE_S = 2.0, 10.0
"""A peer that is frozen is noticed within 12 s."""
_FOR_RUNNERS = ("max_env_restarts", "env_step_timeout_s")
_FOR_TEAMS = (*_FOR_RUNNERS, "max_policies_per_env_runner")
_DEFAULTS = {field.name: field.default for field in fields(EnvRunnerSettings)}
"""Settings that are at them are not said: an older release may not know them, and need not."""


class Invitation:
    """Made once for a run; safe to use from any thread."""

    def __init__(
        self,
        plan: RunnerPlan | MultiAgentPlan,
        settings: EnvRunnerSettings,
        limits: Limits,
        *,
        is_guarded: bool = False,
    ) -> None:
        """Write down what is the same for all. Builds a policy that cannot be exported, which needs torch.

        Weights go without a checksum where the connections of all who come are guarded.
        """
        self._is_guarded = is_guarded
        self._plan = plan
        self._settings = settings
        self._invited: Invited
        if isinstance(plan, RunnerPlan):
            self._invited = InvitedPolicy(plan)
        else:
            from outrider.envrunner.gateway.invited_policies import InvitedPolicies

            self._invited = InvitedPolicies(plan)
        self.is_exported = self._invited.is_exported
        """Whether strangers can act, too."""
        self.limits = limits
        self.terms = Terms(
            heartbeat_interval_s=_HEARTBEAT_S,
            silence_timeout_s=_SILENCE_S,
            session_timeout_s=settings.reconnect_timeout_s,
        )
        self.graph = self._invited.attachment
        """To be attached to an assignment."""
        self.fragment_limits = self._invited.rules.limits(limits)
        """How much of a fragment is read."""
        hello = introduction("the training run", capabilities() | {ON_DEMAND})
        self._hello = replace(
            hello,
            policy_fingerprint=self._invited.fingerprint,
            required_capabilities=frozenset() if self._invited.team is None else frozenset({"multi_agent"}),
        )
        self.capabilities = self._hello.capabilities
        """What this side can do."""

    def welcome(self, join: Join, *, is_stranger: bool) -> Welcome:
        """Decide whether a peer fits: its protocol and capabilities, and its spaces.

        A stranger is one that this run has not started itself.
        """
        welcome = answer_hello(join.hello, self._hello)
        if welcome.refusal is not None:
            return welcome
        misfit = self._invited.misfit(join, run=self._hello.component, is_stranger=is_stranger)
        if misfit is None:
            return welcome
        return Welcome(component=self._hello.component, protocol=self._hello.protocol, refusal=misfit)

    @property
    def rules(self) -> Rules:
        """What fragments look like."""
        return self._invited.rules

    def assignment(self, index: int, incarnation: int, agreed: frozenset[str]) -> Assignment:
        """Say what the runner at a seat is to sample; `agreed` are the capabilities that both sides have."""
        plan, settings = self._plan, self._plan.settings
        compression = self._settings.fragment_compression
        told = _FOR_RUNNERS if self._invited.team is None else _FOR_TEAMS
        wanted = {name: getattr(settings, name) for name in told}
        wanted["fragment_compression"] = compression if compression in agreed else "none"
        return Assignment(
            runner=self.runner(index),
            incarnation=incarnation,
            num_environments=settings.num_envs_per_env_runner,
            num_steps=plan.num_steps,
            seed=plan.seed,
            explore=settings.explore,
            record_action_parameters=settings.record_action_parameters,
            settings={name: value for name, value in wanted.items() if value != _DEFAULTS[name]},
            team=self._invited.team,
        )

    @property
    def state_limits(self) -> Limits:
        """How much of a state is read: what surrounds its arrays grows with what was asked for, too."""
        return replace(self.limits, max_header_bytes=self.fragment_limits.max_header_bytes)

    def runner(self, index: int) -> int:
        """Return the number within the run of the runner at a seat."""
        return self._plan.first_runner + index

    def prepare(self, weights: WeightsReference, *, on_demand: bool) -> None:
        """Encode what runners are sent that have nothing, and ask for policies or do not; may block."""
        self.weights(weights, self.capabilities, None, HeldElsewhere(on_demand=on_demand))

    def weights(
        self, weights: WeightsReference, agreed: frozenset[str], since: int | None, held: HeldElsewhere
    ) -> Sequence[Bytes]:
        """Return weights as they are sent, encoded once for all who get the same; may block the first time.

        A runner that has acted with version `since` gets what is otherwise than then, which is noted.
        """
        return self._pieces(self._invited.needed(weights, since, held), agreed)

    def check_wanted(self, policies: NDArray[np.int32]) -> None:
        """Raise ValueError where a runner has no reason to want the weights of these policies."""
        self._invited.check_wanted(policies)

    def policies(
        self, weights: WeightsReference, policies: NDArray[np.int32], agreed: frozenset[str]
    ) -> Sequence[Bytes]:
        """Return the weights of some policies as they are sent; may block."""
        return self._pieces(LocalWeights(of_policies(weights.load(), policies)), agreed)

    def _pieces(self, weights: WeightsReference, agreed: frozenset[str]) -> Sequence[Bytes]:
        is_halved = self._settings.weights_dtype == "bfloat16" and "bfloat16" in agreed
        return weights_pieces(weights, bfloat16=is_halved, checksum=not self._is_guarded)

    def check_weights(self, weights: WeightsReference) -> None:
        """Raise ValueError for weights of another module; may block while they are fetched."""
        self._invited.check_weights(weights)

    def recast(self, cast: Cast) -> None:
        """Go on with other policies. Raises ValueError where there is one without a name."""
        self._invited.recast(cast)
        self.fragment_limits = self._invited.rules.limits(self.limits)
