"""Which policies there are, who acts for which agent, and which of them learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicySpec:
    """What one policy has of its own; all else it shares with the others."""

    rl_module: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `config.rl_module(...)` that are different for it. Policies that differ here, or in
    their spaces, are of different architecture."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `config.training(...)` that are different for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiAgentSettings:
    """Several agents in one environment."""

    policies: Literal["shared", "per_agent"] | Sequence[str] | Mapping[str, PolicySpec | None] | None = None
    """Names of the policies; a mapping says what a policy has of its own. "shared" is one policy, of that
    name, for all agents; "per_agent" one for each agent, named after it. None: one agent, one policy."""
    policy_mapping_fn: Callable[..., str] | None = None
    """Called as fn(agent_id, episode) when an episode begins, for each agent; returns the name of the policy
    that acts for it until the episode ends. `episode` is an `outrider.envrunner.Episode`. None: the policy
    named after the agent, or the only one."""
    policies_to_train: Sequence[str] | None = None
    """Names of those that learn; the others stay as they are. None: all."""
    num_agents: int | None = None
    """For an environment of one agent: so many independent copies of it, agents "0", "1", ..., make one
    environment, which ends when all have ended. Range >= 1. None: the environment has its agents."""
    critic: Literal["own", "central"] = "own"
    """Whether values are estimated from what the policy sees, or also from the environment's global state
    (MAPPO, Yu et al. 2022); where it has none, from the observations of all agents."""
