"""Refuses, before anything starts, settings of several agents that make no sense together."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.algorithm.settings.multi_agent_settings import MultiAgentSettings
    from outrider.algorithm.settings.run_settings import RunSettings


def check_one_agent(settings: MultiAgentSettings) -> None:
    """Raise ValueError for settings of several agents where no policies are named."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.default is not MISSING and value != field.default:
            raise ValueError(
                f"{field.name}={value!r} is of environments with several agents, and policies is None; say "
                "which there are: --policies shared, or per_agent, or names; in Python "
                'config.multi_agent(policies="shared")'
            )


def check_several_agents(settings: RunSettings) -> None:
    """Raise ValueError for what makes no sense in a run with several agents."""
    if settings.multi_agent.critic == "central" and settings.rl_module.vf_share_layers:
        raise ValueError(
            "vf_share_layers=True reads values from what the policy sees, and critic='central' from more; "
            "set one of them back"
        )
    if settings.environment.state_space is not None and settings.multi_agent.critic == "own":
        raise ValueError(
            "state_space is given, and critic='own' sees what its policy does; set critic='central', or "
            "leave state_space out"
        )
