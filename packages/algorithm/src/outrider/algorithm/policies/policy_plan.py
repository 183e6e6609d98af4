"""From settings to policies, and from policies to stacks: those of one architecture, trained alike.

    policies   "a"  "b"  "c"  "d"        "c" has wider layers, "d" other spaces
    stacks    [ a    b ] [ c ] [ d ]

Which policy acts for which agents, and so what it observes, is found by asking the mapping for
imagined episodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from outrider.algorithm.policies.imagined_episodes import imagined_episodes, num_imagined
from outrider.algorithm.settings.multi_agent_settings import PER_AGENT, SHARED, PolicySpec
from outrider.algorithm.settings.own_settings import own_settings, own_values
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.nearest import no_such
from outrider.rlmodule import PolicyRecipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from outrider.algorithm.settings.multi_agent_settings import MultiAgentSettings
    from outrider.algorithm.settings.run_settings import NetworkSettings, RunSettings
    from outrider.envrunner.agents.multi_agent_vector import AgentGroup
    from outrider.envrunner.policies.policy_mapping import PolicyMapping
    from outrider.learner.training.algorithm_settings import AlgorithmSettings
    from outrider.wire import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedStack:
    """Policies of one architecture that are trained alike."""

    name: str
    policies: tuple[str, ...]
    """Names of those it begins with."""
    group: int
    """Of the environment's agents, those whose spaces these policies have."""
    recipe: PolicyRecipe
    """Of each; the seed is the run's."""
    training: AlgorithmSettings
    """Of all; what differs between them stands in `overrides`."""
    overrides: Mapping[str, Mapping[str, Any]]
    """By policy, training settings of its own, for those that have any."""


def policy_names(settings: MultiAgentSettings, agents: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the policies that a run begins with, in the order of their numbers.

    Raises ValueError where `policies_to_train` names others.
    """
    policies = settings.policies
    assert policies is not None
    if policies == SHARED:
        return (SHARED,)
    names = tuple(agents) if policies == PER_AGENT else tuple(policies)
    for name in settings.policies_to_train or ():
        if name not in names:
            raise ValueError(f"policies_to_train names {name!r}, and {no_such('policy', name, names)}")
    return names


def default_mapping(names: Sequence[str], agents: Sequence[str]) -> dict[str, str]:
    """Return by agent the policy named after it, or the only one there is. Raises ValueError."""
    if len(names) == 1:
        return dict.fromkeys(agents, names[0])
    known = set(names)
    for agent in agents:
        if agent not in known:
            raise ValueError(
                f"agent {agent!r} has no policy: none of the {len(names)} is named after it; give "
                "policy_mapping_fn, which says who acts for whom, or a policy of that name"
            )
    there_are = set(agents)
    for name in names:
        if name not in there_are:
            raise ValueError(
                f"policy {name!r} acts for no agent, and no agent is called so; leave it out, or give "
                "policy_mapping_fn, which says who acts for whom"
            )
    return {agent: agent for agent in agents}


def agents_of_policies(mapping: PolicyMapping, num_agents: int, num_policies: int = 1) -> NDArray[np.int64]:
    """Ask the mapping for imagined episodes, and return who acted for whom.

    Pairs [N, 2] of a policy's number and an agent's place, each once, ascending: a table of all policies
    and agents would have 100 million entries where there are 10,000 of each.
    """
    agents = np.arange(num_agents)
    codes = [
        mapping.assign(episode).astype(np.int64) * num_agents + agents
        for episode in imagined_episodes(num_agents, num_policies)
    ]
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), num_agents), 1)


def groups_of_policies(
    names: Sequence[str],
    agents: Sequence[str],
    groups: Sequence[AgentGroup],
    pairs: NDArray[np.int64],
    agent_of: Mapping[str, str] | None = None,
) -> list[int]:
    """Return for each policy the group of agents that it acts for, whose spaces are its own.

    `pairs` are those of `agents_of_policies`; `agent_of` names by policy an agent whose spaces it is said to
    have. Raises ValueError where one policy acts for agents whose spaces differ, or where nobody knows what
    it would observe; warns of one that acts for nobody.
    """
    pairs = _with_said(pairs, names, agents, agent_of or {})
    group_of_agent = np.empty(len(agents), np.intp)
    for index, group in enumerate(groups):
        group_of_agent[group.slots] = index
    policy_N, agent_N = pairs.T
    group_N = group_of_agent[agent_N]
    played, first = np.unique(policy_N, return_index=True)
    if len(played) < len(names):
        idle = [names[policy] for policy in np.setdiff1d(np.arange(len(names)), played)]
        _unplayed(idle, agents, num_episodes=num_imagined(len(agents), len(names)), num_groups=len(groups))
    found = np.zeros(len(names), np.intp)
    found[played] = group_N[first]
    differs = np.flatnonzero(group_N != found[policy_N])
    if len(differs):
        other = differs[0]
        one = first[np.searchsorted(played, policy_N[other])]
        slots = (int(agent_N[one]), int(agent_N[other]))
        _refuse_different_spaces(names[policy_N[one]], agents, groups, slots, (group_N[one], group_N[other]))
    return [int(group) for group in found]


def plan_stacks(
    settings: RunSettings,
    names: Sequence[str],
    group_of: Sequence[int],
    groups: Sequence[AgentGroup],
    *,
    per_policy: Sequence[str],
    critic_space: Space | None,
    seed: int,
) -> list[PlannedStack]:
    """Group policies whose spaces, modules and training are alike, but for the settings in `per_policy`.

    Raises ValueError for settings of a policy that there are not.
    """
    policies = settings.multi_agent.policies
    specs = policies if isinstance(policies, Mapping) else {}
    kinds: list[_Kind] = []
    overrides: dict[str, dict[str, Any]] = {}
    for name, group in zip(names, group_of, strict=True):
        spec = specs.get(name) or PolicySpec()
        module = own_settings(name, "rl_module", settings.rl_module, spec.rl_module)
        own_settings(name, "training", settings.training, spec.training)  # all together are in range
        own = own_values(name, "training", settings.training, spec.training)
        apart = {key: value for key, value in own.items() if key in per_policy}
        alike = {key: value for key, value in own.items() if key not in per_policy}
        training = replace(settings.training, **alike) if alike else settings.training
        if apart:
            overrides[name] = apart
        _kind(kinds, group, module, training).names.append(name)
    return [
        PlannedStack(
            name=f"stack{index}",
            policies=tuple(kind.names),
            group=kind.group,
            recipe=_recipe(groups[kind.group], kind.module, critic_space, seed),
            training=kind.training,
            overrides={name: overrides[name] for name in kind.names if name in overrides},
        )
        for index, kind in enumerate(kinds)
    ]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the policies of a stack have in common."""

    group: int
    module: NetworkSettings
    training: AlgorithmSettings
    names: list[str]


def _kind(kinds: list[_Kind], group: int, module: NetworkSettings, training: AlgorithmSettings) -> _Kind:
    for kind in kinds:
        if (kind.group, kind.module, kind.training) == (group, module, training):
            return kind
    kinds.append(_Kind(group, module, training, []))
    return kinds[-1]


def _recipe(
    group: AgentGroup, module: NetworkSettings, critic_space: Space | None, seed: int
) -> PolicyRecipe:
    central = {} if critic_space is None else {"critic_space": critic_space}
    return PolicyRecipe(
        observation_space=space_from_gymnasium(group.observation_space),
        action_space=space_from_gymnasium(group.action_space),
        settings=module,
        network=module.network,
        seed=seed,
        **central,
    )


def _with_said(
    pairs: NDArray[np.int64], names: Sequence[str], agents: Sequence[str], agent_of: Mapping[str, str]
) -> NDArray[np.int64]:
    """Add the pairs of policies and agents that the settings name."""
    if not agent_of:
        return pairs
    places = {agent: place for place, agent in enumerate(agents)}
    for policy, agent in agent_of.items():
        if agent not in places:
            raise ValueError(f"policy {policy!r} has agent={agent!r}, and {no_such('agent', agent, agents)}")
    said = [(number, places[agent_of[name]]) for number, name in enumerate(names) if name in agent_of]
    return np.unique(np.concatenate([pairs.reshape(-1, 2), np.array(said, np.int64)]), axis=0)


def _unplayed(idle: Sequence[str], agents: Sequence[str], *, num_episodes: int, num_groups: int) -> None:
    """Tell of policies that acted for no agent, all in one sentence."""
    others = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
    act = f"policy {idle[0]!r}{others} acted for no agent in {num_episodes} imagined episodes"
    cure = "let policy_mapping_fn return it, or leave it out"
    if num_groups > 1:
        raise ValueError(
            f"{act}, and agents differ in their spaces, so that nobody knows what it would observe; name an "
            f"agent whose spaces it has, PolicySpec(agent={agents[0]!r}), {cure}"
        )
    warnings.warn(f"{act}; {cure}", stacklevel=2)


def _refuse_different_spaces(
    name: str,
    agents: Sequence[str],
    groups: Sequence[AgentGroup],
    slots: tuple[int, int],
    of_slots: tuple[int, int],
) -> NoReturn:
    one, other = (groups[index] for index in of_slots)
    what = "observation" if one.observation_space != other.observation_space else "action"
    shown = [getattr(group, f"{what}_space") for group in (one, other)]
    raise ValueError(
        f"policy {name!r} acts for agents {agents[slots[0]]!r} and {agents[slots[1]]!r}, whose {what} spaces "
        f"differ: {shown[0]} and {shown[1]}; give each a policy, or make the spaces alike with a wrapper"
    )
