"""Finds the adapter for an environment of several agents by what the environment can do."""

# ruff: noqa: ANN401 - environments of other libraries have no common type

from __future__ import annotations

from typing import Any

from outrider.envrunner.agents_copy import AgentsCopy
from outrider.envrunner.parallel_agents import ParallelAgents


def adapt(env: Any, name: str) -> AgentsCopy:
    """Put the adapter around an environment that fits. Raises ValueError where none does."""
    return ParallelAgents(env)
