"""What a learner service is told to make: a plan as plain values, and no pickle.

A network of the user's own goes by its name, "module:name". The service imports it from there, and only
from modules that it was started with: whoever may name any module may run any code. Free of torch.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from outrider.learner.plans.group_settings import LearnerGroupSettings
from outrider.learner.plans.learner_plan import LearnerPlan
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.service.stack_checks import check_plan, check_stack
from outrider.rlmodule import PolicyRecipe

Plan: TypeAlias = LearnerPlan | MultiAgentPlan

_OF_THE_LEARNERS = (
    "num_cpus_per_learner",
    "num_gpus_per_learner",
    "learner_timeout_s",
    "learner_start_timeout_s",
    "num_updates_between_snapshots",
    "max_learner_restarts",
)
"""Settings that mean something where the service is. The others are the algorithm's own affair."""


def plan_message(plan: Plan) -> dict[str, Any]:
    """Return plain values. Raises ValueError for what has none, such as a function in the settings."""
    settings = LearnerGroupSettings(**{name: getattr(plan.settings, name) for name in _OF_THE_LEARNERS})
    if isinstance(plan, MultiAgentPlan):
        stacks = [stack_message(stack) for stack in plan.stacks]
        return replace(plan, stacks=(), settings=settings).to_message() | {"stacks": stacks}
    message = replace(plan, policy=replace(plan.policy, network=None), settings=settings).to_message()
    return message | _name_of(plan.policy)


def stack_message(stack: StackPlan) -> dict[str, Any]:
    """Return the plan of policies of one architecture as plain values; raises ValueError as above."""
    message = replace(stack, policy=replace(stack.policy, network=None)).to_message()
    return message | _name_of(stack.policy)


def read_plan(message: Mapping[str, Any], network_modules: Sequence[str]) -> Plan:
    """Read what `plan_message` returned; raises ValueError for what cannot be made here.

    Networks are imported from `network_modules` and what is below them.
    """
    try:
        if "stacks" not in message:
            plan = LearnerPlan.from_message(message)
            return replace(plan, policy=_with_network(plan.policy, message, network_modules))
        several = MultiAgentPlan.from_message({**message, "stacks": [], "shares_rows": False})
        stacks = [read_stack(each, several.algorithm, network_modules) for each in message["stacks"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_plan(error) from error
    several = replace(several, stacks=tuple(stacks))
    check_plan(several)
    return several


def read_stack(message: Mapping[str, Any], algorithm: str, network_modules: Sequence[str]) -> StackPlan:
    """Read what `stack_message` returned; raises ValueError as `read_plan` does."""
    try:
        stack = StackPlan.from_message(message, algorithm)
        check_stack(stack)
        return replace(stack, policy=_with_network(stack.policy, message, network_modules))
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_plan(error) from error


def importable_name(thing: Any) -> str:  # noqa: ANN401 - whatever makes a network
    """Return "module:name" for a function or class that another process can import by it."""
    module = getattr(thing, "__module__", None)
    path = getattr(thing, "__qualname__", "")
    if module and module != "__main__" and path and _found(module, path) is thing:
        return f"{module}:{path}"
    raise ValueError(
        f"the network {thing!r} has no name that a learner service could import; put the function or class "
        "at the top level of a module that is installed there as well"
    )


def _no_plan(error: Exception) -> ValueError:
    return ValueError(f"what came is no plan of learners ({error!r}); send what a LearnerPlan says")


def _name_of(policy: PolicyRecipe) -> dict[str, str]:
    return {} if policy.network is None else {"network": importable_name(policy.network)}


def _with_network(
    policy: PolicyRecipe, message: Mapping[str, Any], network_modules: Sequence[str]
) -> PolicyRecipe:
    name = message.get("network")
    return policy if name is None else replace(policy, network=_import(str(name), network_modules))


def _found(module: str, path: str) -> object:
    try:
        return operator.attrgetter(path)(sys.modules[module])
    except (KeyError, AttributeError):
        return None


def _import(name: str, network_modules: Sequence[str]) -> Any:  # noqa: ANN401 - whatever makes a network
    module, _, path = name.partition(":")
    if not any(module == each or module.startswith(f"{each}.") for each in network_modules):
        raise ValueError(
            f"the network {name!r} is not of a module that this learner service imports networks from; start "
            f"it with --network-module {module}"
        )
    try:
        return operator.attrgetter(path)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"the network {name!r} cannot be imported where the learner service runs ({error}); install "
            f"{module} there"
        ) from error
