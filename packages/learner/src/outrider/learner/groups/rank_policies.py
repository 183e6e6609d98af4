"""What a rank that has policies of its own is asked about them; the calls are those of `ray_rank`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from outrider.learner.groups.learned_policies import take_in
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan

if TYPE_CHECKING:
    import torch

    from outrider.learner.ranks import Ranks
    from outrider.learner.stacks.multi_agent_learner import MultiAgentLearner


class RankPolicies:
    """The policies of one rank."""

    def __init__(
        self,
        learner: MultiAgentLearner,
        plan: MultiAgentPlan,
        *,
        device: torch.device,
        ranks: Ranks | None = None,
        read: Callable[[Mapping[str, Any]], StackPlan] | None = None,
    ) -> None:
        """Take the learner that `plan` made; `read` reads plans of policies that are added.

        With `ranks` they share the rows of every policy.
        """
        self._learner = learner
        self._read = read or partial(StackPlan.from_message, algorithm=plan.algorithm)
        self._take_in = partial(
            take_in, learner, algorithm=plan.algorithm, seed=plan.seed, device=device, ranks=ranks
        )

    @property
    def calls(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """What may be asked, by name."""
        return {
            "policies": self.policies,
            "policy_state": self.policy_state,
            "add_policy": self.add_policy,
            "remove_policy": self.remove_policy,
            "freeze": self.freeze,
            "thaw": self.thaw,
            "count_change": self.count_change,
        }

    def policies(self) -> dict[str, Any]:
        """Say which there are, and what the newest update measured of them."""
        return {
            "numbers": self._learner.numbers,
            "frozen": sorted(self._learner.frozen),
            "diverged": [[number, why] for number, why in self._learner.diverged.items()],
            "metrics": self._learner.policy_metrics(),
        }

    def policy_state(self, number: int) -> dict[str, Any]:
        """Return all that a policy goes on from."""
        return {"state": self._learner.policy_state(number)}

    def add_policy(self, plan: Mapping[str, Any], like: StateTree | None) -> dict[str, Any]:
        self._take_in(self._read(plan), like)
        return {}

    def remove_policy(self, number: int) -> dict[str, Any]:
        self._learner.remove(number)
        return {}

    def freeze(self, numbers: Sequence[int]) -> dict[str, Any]:
        self._learner.freeze(numbers)
        return {}

    def thaw(self, numbers: Sequence[int]) -> dict[str, Any]:
        self._learner.thaw(numbers)
        return {}

    def count_change(self) -> dict[str, Any]:
        """Note that another rank adds or removes a policy."""
        self._learner.count_change()
        return {}
