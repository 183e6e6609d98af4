"""What a learner service does when a run asks about its policies, or changes them: `LearnPolicies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outrider.learner.groups.learned_policies import LearnedPolicies
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.service.service_plan import read_stack
from outrider.learner.service.stack_checks import check_count, check_numbers
from outrider.wire import WireError


class ServedPolicies:
    """The policies of a run at a service."""

    def __init__(
        self, policies: LearnedPolicies, plan: MultiAgentPlan, network_modules: Sequence[str]
    ) -> None:
        """Take the policies that `plan` made; networks of users come from `network_modules`."""
        self._policies = policies
        self._num_policies = sum(len(stack.seeds) for stack in plan.stacks)
        self._algorithm = plan.algorithm
        self._network_modules = network_modules

    def rest(self) -> None:
        """Wait until all that was handed over is trained on: metrics are told between two updates."""
        self._policies.policy_metrics()

    def answer(self, call: Any) -> dict[str, Any]:  # noqa: ANN401 - a tree that a stranger sent
        """Do what is asked, and return what is answered beside the version of the weights.

        Raises WireError for what is no call, ValueError for what cannot be done; then nothing has changed.
        """
        match call:
            case {"call": "policies"}:
                return {
                    "frozen": sorted(self._policies.frozen),
                    "diverged": [[number, why] for number, why in self._policies.diverged.items()],
                    "metrics": self._policies.policy_metrics(),
                }
            case {"call": "policy_state", "number": number}:
                check_numbers([number])
                return {"state": self._policies.policy_state(number)}
            case {"call": "add", "stack": {} as stack, "like": like, "state": state}:
                return self._add(stack, like, state)
            case {"call": "remove", "number": number}:
                check_numbers([number])
                self._policies.remove(number)
                self._num_policies -= 1
            case {"call": "freeze" | "thaw" as name, "numbers": [*numbers]}:
                check_numbers(numbers)
                (self._policies.freeze if name == "freeze" else self._policies.thaw)(numbers)
            case _:
                name = call.get("call") if isinstance(call, Mapping) else call
                raise WireError(
                    f"{str(name)[:40]!r} is nothing that can be asked of policies, or came without what "
                    "belongs to it; send policies, policy_state, add, remove, freeze or thaw"
                )
        return {}

    def _add(self, message: Mapping[str, Any], like: Any, state: Any) -> dict[str, Any]:  # noqa: ANN401
        """Add a policy: a copy of another, what a state says, or a new one."""
        stack = read_stack(message, self._algorithm, self._network_modules)
        if len(stack.seeds) != 1:
            raise ValueError(f"{len(stack.seeds)} policies came to be added; add them one by one")
        (number,) = stack.seeds
        check_count(self._num_policies + 1)
        if like is not None:
            check_numbers([like])
        try:
            self._policies.add(stack, like=like, state=state)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if state is None:
                raise
            raise WireError(f"policy {number} cannot go on from the state that came: {error!r}") from error
        self._num_policies += 1
        return {"state": self._policies.policy_state(number)}
