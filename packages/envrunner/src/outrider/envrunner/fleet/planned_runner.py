"""A runner of several agents elsewhere, which is told when a run has other policies or maps them anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.acting_stack import ActingStack
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import PolicyMapping
from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner
from outrider.wire import Fragment, Weights

CAST = "cast"
"""A state that holds this alone is a `Cast` as a message, and changes nothing else."""


class Recastable(Protocol):
    """What a runner was made of, as far as a `Cast` changes it."""

    @property
    def policies(self) -> Sequence[PolicyEntry]:
        """Those that may act."""
        ...

    def recast(self, cast: Cast) -> Self:
        """Return it with other policies and another mapping. Raises ValueError where they do not fit."""
        ...

    def policy_mapping(self) -> PolicyMapping:
        """Make what says who acts for whom."""
        ...

    def acting(self, there: Mapping[str, ActingStack]) -> dict[str, ActingStack]:
        """Return what acts for each stack, and make what is not `there` yet."""
        ...


class PlannedRunner:
    """A `SamplingRunner` that knows what it was made of."""

    def __init__(
        self,
        plan: Recastable,
        runner: MultiAgentRunner,
        acting: Mapping[str, ActingStack],
        load: Callable[[bytes], Any] | None,
    ) -> None:
        """Take over a runner of the plan, and the stacks that act in it by name."""
        self._plan = plan
        self._runner = runner
        self._acting = dict(acting)
        self._load = load

    @property
    def version(self) -> int | None:
        """Version of the weights that act; None before the first."""
        return self._runner.version

    @property
    def held(self) -> NDArray[np.int32]:
        """The policies whose weights it has, where it fetches those that play; ascending."""
        return self._runner.held

    def set_weights(self, weights: Weights) -> None:
        """Act with new weights from the next fragment on; those of policies left out stay."""
        self._runner.set_weights(weights)

    def sample(self, *, explore: bool | None = None) -> Fragment:
        """Return the next fragment; see `MultiAgentRunner.sample`."""
        return self._runner.sample(explore=explore)

    def get_state(self) -> dict[str, Any]:
        """Return a tree of what the next fragment depends on, weights excepted."""
        return self._runner.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned, or act as a `Cast` says; then weights are wanted again.

        Raises ValueError for a cast that does not fit the plan.
        """
        if state.keys() == {CAST}:
            self._recast(Cast.from_message(state[CAST], self._load))
        else:
            self._runner.set_state(state)

    def close(self) -> None:
        """Close the environments."""
        self._runner.close()

    def _recast(self, cast: Cast) -> None:
        plan = self._plan.recast(cast)
        mapping = plan.policy_mapping()
        self._acting = plan.acting(self._acting)
        self._runner.set_policies(plan.policies, list(self._acting.values()))
        self._runner.set_mapping(mapping)
        self._runner.want_weights()
