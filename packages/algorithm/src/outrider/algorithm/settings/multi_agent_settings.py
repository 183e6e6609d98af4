"""Which policies there are, who acts for which agent, and which of them learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from outrider.envrunner.nearest import did_you_mean, no_such

SHARED, PER_AGENT = "shared", "per_agent"


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicySpec:
    """What one policy has of its own; all else it shares with the others."""

    rl_module: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `config.rl_module(...)` that are different for it. Policies that differ here, or in
    their spaces, are of different architecture."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `config.training(...)` that are different for it."""
    agent: str | None = None
    """An agent whose spaces it has. None: those of the agents that it acts for in imagined episodes. To be
    given where agents differ in their spaces and the mapping hardly ever returns the policy."""

    def __post_init__(self) -> None:
        """Refuse what is no mapping."""
        for name in ("rl_module", "training"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} of a PolicySpec is no mapping; give settings by name, "
                    f"such as {name}={{{'fcnet_hiddens' if name == 'rl_module' else 'lr'!r}: ...}}"
                )
        if self.agent is not None and not isinstance(self.agent, str):
            raise ValueError(f"agent={self.agent!r} of a PolicySpec is no name of an agent; give text")


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiAgentSettings:
    """Several agents in one environment."""

    policies: Literal["shared", "per_agent"] | Sequence[str] | Mapping[str, PolicySpec | None] | None = None
    """Names of the policies; a mapping says what a policy has of its own. "shared" is one policy, of that
    name, for all agents; "per_agent" one for each agent, named after it. None: one agent, one policy."""
    policy_mapping_fn: Callable[..., str] | None = None
    """Called as fn(agent_id, episode) when an episode begins, for each agent; returns the name of the policy
    that acts for it until the episode ends. `episode` is an `Episode` of
    `outrider.envrunner.policies.policy_mapping`. None: the policy named after the agent, or the only one."""
    policies_to_train: Sequence[str] | None = None
    """Names of those that learn; the others stay as they are. None: all."""
    num_agents: int | None = None
    """For an environment of one agent: so many independent copies of it, agents "0", "1", ..., make one
    environment, which ends when all have ended. Range >= 1. None: the environment has its agents."""
    critic: Literal["own", "central"] = "own"
    """Whether values are estimated from what the policy sees, or also from the environment's global state
    (MAPPO, Yu et al. 2022); where it has none, from the observations of all agents."""

    def __post_init__(self) -> None:
        """Check names and ranges; specifications become `PolicySpec`."""
        object.__setattr__(self, "policies", _policies(self.policies))
        trained = self.policies_to_train
        if trained is not None:
            object.__setattr__(self, "policies_to_train", _names("policies_to_train", trained))
            _check_known(trained, self.policies)
        if self.num_agents is not None and (type(self.num_agents) is not int or self.num_agents < 1):
            raise ValueError(f"num_agents={self.num_agents!r} is out of range; give a whole number >= 1")
        if self.critic not in {"own", "central"}:
            raise ValueError(f'critic={self.critic!r} is unknown; choose "own" or "central"')

    @property
    def agent_of(self) -> dict[str, str]:
        """By policy the agent whose spaces it is said to have, where the settings say so."""
        specs = self.policies if isinstance(self.policies, Mapping) else {}
        return {
            name: spec.agent for name, spec in specs.items() if spec is not None and spec.agent is not None
        }

    @property
    def is_on(self) -> bool:
        """Whether there are policies by name."""
        return self.policies is not None


def require_policy_name(name: object, who: str) -> None:
    """Raise ValueError, which begins with `who`, for what cannot name a policy."""
    if not isinstance(name, str) or not name or name != name.strip() or "/" in name:
        raise ValueError(f"{who} the name {name!r}; give text without '/' and without spaces around it")


def _policies(policies: object) -> Any:  # noqa: ANN401 - as the field has it
    if policies is None:
        return None
    if isinstance(policies, str):
        if policies in {SHARED, PER_AGENT}:
            return policies
        raise ValueError(
            f"policies={policies!r} is unknown; give {SHARED!r}, {PER_AGENT!r}, or a list of names"
        )
    if isinstance(policies, Mapping):
        names = _names("policies", policies)
        return {name: _spec(name, policies[name]) for name in names}
    names = _names("policies", policies)
    typed = names[0].lower().replace("-", "_")
    if len(names) == 1 and did_you_mean(typed, (SHARED, PER_AGENT)).startswith("did"):
        # "per-agent", say, from a command line, would otherwise be one policy of that name.
        if names[0] != SHARED:
            raise ValueError(f"policies={names[0]!r}: {did_you_mean(typed, (SHARED, PER_AGENT))}")
        return SHARED
    return names


def _names(field_name: str, names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        such = repr(names) if isinstance(names, str) else '"red", "blue"'
        raise ValueError(f"{field_name}={names!r} is no list of names; give one, such as [{such}]")
    # A set has another order in each process, and numbers, seeds with them, go by the order.
    found = tuple(sorted(names, key=str) if isinstance(names, set | frozenset) else names)
    if not found:
        raise ValueError(f"{field_name} is empty; give at least one name, or leave it out")
    for name in found:
        require_policy_name(name, f"{field_name} has")
    if len(set(found)) != len(found):
        twice = next(name for index, name in enumerate(found) if name in found[:index])
        raise ValueError(f"{field_name} names {twice!r} twice; leave one out")
    return found


def _spec(name: str, spec: object) -> PolicySpec | None:
    if spec is None or isinstance(spec, PolicySpec):
        return spec
    if isinstance(spec, Mapping):
        known = [each.name for each in fields(PolicySpec)]
        for key in spec:
            if key not in known:
                raise ValueError(f"policy {name!r} has no {key!r}; {did_you_mean(str(key), known)}")
        return PolicySpec(**spec)
    raise ValueError(
        f"policy {name!r} is {spec!r}; give a PolicySpec, or None where it has nothing of its own"
    )


def _check_known(trained: Sequence[str], policies: Any) -> None:  # noqa: ANN401 - as the field has it
    """Refuse to train what there is not, as far as the names are known before there is an environment."""
    if policies is None or policies == PER_AGENT:
        return
    known = (SHARED,) if policies == SHARED else tuple(policies)
    for name in trained:
        if name not in known:
            raise ValueError(f"policies_to_train names {name!r}, and {no_such('policy', name, known)}")
