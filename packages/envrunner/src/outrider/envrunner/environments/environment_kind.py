"""Tells environments of several agents from those of one.

The libraries that such environments come from are no dependencies of this one, so there is no class to ask
for; this is the one place that looks at attributes instead.
"""

# ruff: noqa: ANN401 - environments of other libraries have no common type

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym


class SeveralAgentsError(ValueError):
    """Raised where an environment for several agents is asked to be one for one agent."""

    def __init__(self, name: str) -> None:
        """Name the environment."""
        super().__init__(
            f"{name} is an environment for several agents; say which policies act in it: --policies shared, "
            'or per_agent, or names; in Python config.multi_agent(policies="shared")'
        )


def is_for_several(env: Any) -> bool:
    """Tell whether this is one environment for several agents, of a kind that has an adapter."""
    inner = env.unwrapped if isinstance(env, gym.Env) else env
    names_agents = _has(inner, "possible_agents") or isinstance(
        getattr(inner, "observation_spaces", None), Mapping
    )
    return names_agents and can(inner, "reset", "step")


def is_vector_for_several(vector: Any) -> bool:
    """Tell whether this looks like a `MultiAgentVector`."""
    return _has(vector, "agents") and _has(vector, "groups") and can(vector, "reset", "step")


def can(env: Any, *methods: str) -> bool:
    """Tell whether it has all of these methods."""
    return all(callable(getattr(env, method, None)) for method in methods)


def _has(env: Any, attribute: str) -> bool:
    return getattr(env, attribute, None) is not None
