"""Weights for runners on Ray: what each needs, in the object store once for all that need the same."""

from __future__ import annotations

from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.sampling.runner_protocol import SamplingPlan
from outrider.transport import WeightsReference
from outrider.transport.ray_pieces import PolicyPieces, RayPolicies
from outrider.transport.ray_references import RayWeights, put_weights

_IN_PIECES = -1
"""Stands for a version that runners have where all of them are given the same pieces."""


class RunnersWeights:
    """Puts the weights that were given last."""

    def __init__(self, plan: SamplingPlan) -> None:
        """Put nothing yet; runners are made of this plan."""
        self._plan = plan
        self._selection = plan.weights_selection() if isinstance(plan, MultiAgentPlan) else None
        self._pieces = PolicyPieces()
        self._given: WeightsReference | None = None
        self._put: dict[int | None, RayWeights | RayPolicies] = {}
        """What is in the object store, by what runners have already."""

    def put(
        self, weights: WeightsReference, *, since: int | None, takes_pieces: bool
    ) -> RayWeights | RayPolicies:
        """Put what a runner needs that has all that it needs of version `since`; None: it may have nothing.

        One that takes pieces fetches policies that it plays, where there are many.
        """
        if weights is not self._given:
            self._put, self._given = {}, weights
        selection = self._selection
        in_pieces = selection is not None and selection.is_on_demand and takes_pieces
        since = _IN_PIECES if in_pieces else since
        if since not in self._put:
            if in_pieces:
                self._put[since] = self._in_pieces(weights)
            elif isinstance(weights, RayWeights):  # a rank put them
                self._put[since] = weights
            else:
                self._put[since] = put_weights(weights if selection is None else selection.of(weights, since))
        return self._put[since]

    def check_cast(self, cast: Cast) -> None:
        """Let runners have the weights of more policies. Raises ValueError for unknown stacks."""
        assert isinstance(self._plan, MultiAgentPlan)
        assert self._selection is not None
        plan = self._plan.recast(cast)
        if self._selection.also(plan.played(), policies=frozenset(plan.numbers.values())):
            self._given, self._put = None, {}

    def forget(self) -> None:
        """Put nothing of what there is any more: the next weights may be of another time of the run."""
        self._pieces = PolicyPieces()
        self._given, self._put = None, {}

    def _in_pieces(self, weights: WeightsReference) -> RayWeights | RayPolicies:
        """Put pieces of which runners fetch some, so that no node but this one needs all of the weights."""
        try:
            return self._pieces.put(weights.load())
        except (ConnectionError, TimeoutError):
            if not isinstance(weights, RayWeights):
                raise
            return weights  # gone: runners find that out, and go on with those that they have
