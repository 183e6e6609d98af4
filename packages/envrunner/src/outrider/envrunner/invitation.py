"""What a run tells those who come from elsewhere: whom it lets in, and what they are to sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from outrider.envrunner.environment import spaces_of
from outrider.envrunner.fragment_rules import FragmentRules
from outrider.envrunner.introduction import introduction
from outrider.envrunner.runner_plan import RunnerPlan
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.transport import WeightsReference
from outrider.transport.received import weights_pieces
from outrider.wire import (
    Bytes,
    Limits,
    PolicyGraph,
    Refusal,
    RefusalReason,
    Welcome,
    answer_hello,
    capabilities,
    encode_policy_graph,
    space_difference,
)
from outrider.wire.session import Assignment, Join, Terms

_HEARTBEAT_S, _SILENCE_S = 2.0, 10.0
"""A peer that is frozen is noticed within 12 s."""
_FOR_RUNNERS = ("max_env_restarts", "env_step_timeout_s")
_DEFAULTS = {field.name: field.default for field in fields(EnvRunnerSettings)}
"""Settings that are at them are not said: an older release may not know them, and need not."""


class Invitation:
    """Made once for a run; safe to use from any thread."""

    def __init__(
        self, plan: RunnerPlan, settings: EnvRunnerSettings, limits: Limits, *, is_guarded: bool = False
    ) -> None:
        """Write down what is the same for all. Builds a policy that cannot be exported, which needs torch.

        Weights go without a checksum where the connections of all who come are guarded.
        """
        self._is_guarded = is_guarded
        self._plan = plan
        self._settings = settings
        self._graph, self.is_exported = _graph(plan)
        self.limits = limits
        self.terms = Terms(
            heartbeat_interval_s=_HEARTBEAT_S,
            silence_timeout_s=_SILENCE_S,
            session_timeout_s=settings.reconnect_timeout_s,
        )
        self.graph: Sequence[Bytes] = encode_policy_graph(self._graph).pieces()
        """To be attached to an assignment."""
        self.rules = FragmentRules(
            observation_space=self._graph.observation_space,
            action_heads=self._graph.action_heads,
            state=self._graph.state,
            num_steps=plan.num_steps,
            num_environments=plan.settings.num_envs_per_env_runner,
            record_action_parameters=plan.settings.record_action_parameters,
        )
        self.fragment_limits = self.rules.limits(limits)
        """How much of a fragment is read."""
        hello = introduction("the training run", capabilities())
        self._hello = replace(hello, policy_fingerprint=self._graph.fingerprint)
        self.capabilities = self._hello.capabilities
        """What this side can do."""

    def welcome(self, join: Join, *, is_stranger: bool) -> Welcome:
        """Decide whether a peer fits: its protocol and capabilities, and its spaces.

        A stranger is one that this run has not started itself.
        """
        welcome = answer_hello(join.hello, self._hello)
        if welcome.refusal is not None:
            return welcome
        if is_stranger and not self.is_exported:
            return self._refuse(
                RefusalReason.CAPABILITY,
                f"{self._hello.component} trains a policy that cannot be exported, with which "
                f"{join.hello.component} cannot act; use a network that can be exported, or runners that the "
                "run starts",
            )
        for name in ("observation_space", "action_space"):
            difference = space_difference(
                getattr(join, name), getattr(self._graph, name), there="on the farm", here="in the run"
            )
            if difference is not None:
                return self._refuse(
                    RefusalReason.ENVIRONMENT,
                    f"the {name} of {join.hello.component} differs from that of the run: {difference}; "
                    "give both the same environment and arguments",
                )
        return welcome

    def assignment(self, index: int, incarnation: int, agreed: frozenset[str]) -> Assignment:
        """Say what the runner at a seat is to sample; `agreed` are the capabilities that both sides have."""
        plan, settings = self._plan, self._plan.settings
        compression = self._settings.fragment_compression
        wanted = {name: getattr(settings, name) for name in _FOR_RUNNERS}
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
        )

    def runner(self, index: int) -> int:
        """Return the number within the run of the runner at a seat."""
        return self._plan.first_runner + index

    def weights(self, weights: WeightsReference, agreed: frozenset[str]) -> Sequence[Bytes]:
        """Return weights as they are sent, encoded once for all who get them; may block the first time."""
        is_halved = self._settings.weights_dtype == "bfloat16" and "bfloat16" in agreed
        return weights_pieces(weights, bfloat16=is_halved, checksum=not self._is_guarded)

    def check_weights(self, weights: WeightsReference) -> None:
        """Raise ValueError for weights of another module; may block while they are fetched."""
        fingerprint = weights.load().fingerprint
        if fingerprint != self._graph.fingerprint:
            raise ValueError(
                f"weights fit the module {fingerprint}, and runners act with {self._graph.fingerprint}; "
                "export the policy again"
            )

    def _refuse(self, reason: RefusalReason, sentence: str) -> Welcome:
        welcome = Welcome(component=self._hello.component, protocol=self._hello.protocol)
        return replace(welcome, refusal=Refusal(reason=reason, sentence=sentence))


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
