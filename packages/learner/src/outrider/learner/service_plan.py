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
from typing import Any

from outrider.learner.learner_group import LearnerGroupSettings
from outrider.learner.learner_plan import LearnerPlan

_OF_THE_LEARNERS = (
    "num_cpus_per_learner",
    "num_gpus_per_learner",
    "learner_timeout_s",
    "learner_start_timeout_s",
    "num_updates_between_snapshots",
    "max_learner_restarts",
)
"""Settings that mean something where the service is. The others are the algorithm's own affair."""


def plan_message(plan: LearnerPlan) -> dict[str, Any]:
    """Return plain values. Raises ValueError for what has none, such as a function in the settings."""
    settings = LearnerGroupSettings(**{name: getattr(plan.settings, name) for name in _OF_THE_LEARNERS})
    message = replace(plan, policy=replace(plan.policy, network=None), settings=settings).to_message()
    if plan.policy.network is not None:
        message["network"] = importable_name(plan.policy.network)
    return message


def read_plan(message: Mapping[str, Any], network_modules: Sequence[str]) -> LearnerPlan:
    """Read what `plan_message` returned; raises ValueError for what cannot be made here.

    A network is imported from `network_modules` and what is below them.
    """
    try:
        plan = LearnerPlan.from_message(message)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"what came is no plan of learners ({error!r}); send what a LearnerPlan says"
        ) from error
    name = message.get("network")
    if name is None:
        return plan
    return replace(plan, policy=replace(plan.policy, network=_import(str(name), network_modules)))


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
