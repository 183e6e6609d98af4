"""Plans what trains and makes what acts for the policies of a planned stack.

Where policies can be computed together they are one stack; where they cannot, as with some networks of the
user's, each is a stack of one.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from outrider.algorithm.policies.acting import acting_policies, exported
from outrider.algorithm.policies.policy_seed import policy_seed
from outrider.algorithm.settings.own_settings import own_values
from outrider.envrunner.fleet.multi_agent_plan import StackPlan as ActingPlan
from outrider.envrunner.policies.policy_fit import StackSpaces
from outrider.envrunner.policies.sole_policy import SolePolicy
from outrider.envrunner.policies.stack_policy import StackPolicy
from outrider.envrunner.policies.torch_stack_policy import TorchStackPolicy
from outrider.learner.plans.multi_agent_plan import StackPlan
from outrider.rlmodule import PolicyNotExportable, PolicyStack
from outrider.rlmodule.ignored_settings import told_before

if TYPE_CHECKING:
    from outrider.algorithm.policies.policy_book import BookedPolicy
    from outrider.algorithm.policies.policy_plan import PlannedStack
    from outrider.envrunner.policies.acting_stack import ActingStack
    from outrider.rlmodule import Policy, PolicyRecipe
    from outrider.wire import PolicyGraph

log = logging.getLogger(__name__)


class StackAssembly:
    """Plans learners and makes acting policies of one planned stack."""

    def __init__(self, planned: PlannedStack, *, seed: int) -> None:
        """Find out whether its policies can be computed together. Raises ValueError for a bad network."""
        self._planned = planned
        self._seed = seed
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)  # others are for the user's filters
            self._plain = planned.recipe.build()
        self.warnings = [*dict.fromkeys(str(each.message) for each in said)]
        """What was said as a policy was built; it is for the caller to pass on, with the policies' names."""
        self.is_stacked, self._graph = _together(planned)
        """Whether the policies are one stack; otherwise each is a stack of one."""
        if not self.is_stacked:
            self._graph = exported(self._plain)

    @property
    def recipe(self) -> PolicyRecipe:
        """What each policy is made of."""
        return self._planned.recipe

    @property
    def planned_for(self) -> str:
        """Name of the first policy that it was planned for, which may be gone by now."""
        return self._planned.policies[0]

    def policy(self) -> Policy:
        """Return a policy of this architecture, whose weights mean nothing."""
        with told_before():
            return self._planned.recipe.build()

    def seed_of(self, policy: BookedPolicy) -> int:
        """Return the seed of a policy's first weights."""
        return policy_seed(self._seed, policy.number)

    def learner_plan(self, name: str, policies: Sequence[BookedPolicy]) -> StackPlan:
        """Say what the learner of a stack `name` with these policies is made of."""
        training = self._planned.training
        return StackPlan(
            name=name,
            policy=self._planned.recipe,
            training=training,
            seeds={policy.number: self.seed_of(policy) for policy in policies},
            overrides={
                policy.number: own_values(policy.name, "training", training, policy.own)
                for policy in policies
                if policy.own
            },
            is_stacked=self.is_stacked,
        )

    def spaces(self, name: str) -> StackSpaces:
        """Return what the policies of a stack `name` see and do."""
        return StackSpaces(name, self._plain.observation_space, self._plain.action_heads)

    def acting_plan(self, name: str) -> ActingPlan:
        """Return how runners elsewhere act for a stack `name`."""
        return ActingPlan(name=name, policy=self._graph or self.recipe, is_stacked=self.is_stacked)

    def acting(self, name: str, policies: Sequence[BookedPolicy]) -> ActingStack:
        """Make what acts in this process for a stack `name` with these policies."""
        if self.is_stacked:
            if self._graph is None:
                with told_before():
                    return TorchStackPolicy(self._planned.recipe, name)
            return StackPolicy(self._graph, name)
        (policy,) = policies
        return SolePolicy(
            acting_policies(self._plain, self._graph)(),
            name,
            policy.number,
            observation_space=self._plain.observation_space,
            action_heads=self._plain.action_heads,
        )


def _together(planned: PlannedStack) -> tuple[bool, PolicyGraph | None]:
    """Return whether policies are computed together, and how they act so without torch, if they can.

    One that could act so only through torch is better off alone.
    """
    is_one = len(planned.policies) == 1
    try:
        with told_before():
            stack = PolicyStack(planned.recipe, [])
        return True, stack.policy_graph()
    except PolicyNotExportable as error:
        if not is_one:
            log.warning("%d policies act through torch, which is slower: %s", len(planned.policies), error)
        return not is_one, None
    except ValueError as error:
        if not is_one:
            log.warning("%d policies are computed one after the other: %s", len(planned.policies), error)
        return False, None
