"""Reads the plan of a run, for one agent or for several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from outrider.envrunner.fleet.runner_plan import RunnerPlan

if TYPE_CHECKING:
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan


def plan_from_message(
    message: Mapping[str, Any], load: Callable[[bytes], Any] | None = None
) -> RunnerPlan | MultiAgentPlan:
    """Read what a plan's `to_message` returned, maybe of another release. Raises ValueError as those do."""
    if "stacks" not in message:
        return RunnerPlan.from_message(message, load)
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan

    return MultiAgentPlan.from_message(message, load)
