"""Whether the nodes of a cluster can hold what a run reserves, and what to say where they cannot.

Free of Ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.algorithm.cluster.demand import CPU, GPU, Bundles, Demand
from outrider.algorithm.cluster.packing import Kind, Resources, can_hold, fits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.algorithm.settings.resource_settings import PlacementStrategy

RESOLUTION = 1e-4
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What a node of the cluster has, and what of it nobody uses."""

    total: Resources
    available: Resources


@dataclass(frozen=True, slots=True)
class Where:
    """What is compared with a demand, in words."""

    name: str
    cure: str
    """What makes it larger."""


CLUSTER = Where("the cluster", "add a node")
MACHINE = Where("this machine", "connect to a cluster with ray_address")
PLACEMENT_GROUP = Where("the placement group of this process", "reserve more where it is made")


def what_is_missing(
    demand: Demand, nodes: Sequence[Node], strategy: PlacementStrategy, *, where: Where = CLUSTER
) -> str | None:
    """Say in one sentence what was asked for, what there is and what to do, or None where all fits."""
    if not demand.groups:
        return None
    total = [node.total for node in nodes]
    available = [node.available for node in nodes]
    return (
        _too_little(demand, total, total, where)
        or _cannot_be_placed(demand, total, strategy, where)
        or _too_little(demand, total, available, where)
        or _in_the_way(demand, available, strategy)
    )


# ------------------------------------------------------------------------------------------- sentences


def _too_little(
    demand: Demand, total: Sequence[Resources], free: Sequence[Resources], where: Where
) -> str | None:
    """Compare sums over the cluster."""
    for resource in demand.resources():
        asked = demand.total(resource)
        has = sum(node.get(resource, 0.0) for node in total)
        left = sum(node.get(resource, 0.0) for node in free)
        if asked <= left + RESOLUTION / 2:
            continue
        there_is = f"{where.name} has {has:g}"
        cure = f"{_cure(demand, resource, nothing_there=not has)} or {where.cure}"
        if free is not total:
            there_is += f" and others use {has - left:g} of them"
            cure = f"wait for them with wait_for_resources_s or {_cure(demand, resource)}"
        return f"asked for {_amount(asked, resource)} ({_who(demand, resource)}), {there_is}; {cure}"
    return None


def _cannot_be_placed(
    demand: Demand, nodes: Sequence[Resources], strategy: PlacementStrategy, where: Where
) -> str | None:
    for group in demand.groups:
        if not any(can_hold(_kind(group), node) for node in nodes):
            return (
                f"no part of {where.name} has {_bundle(group)} together, which one {group.kind} asks for "
                f"({_settings(group)}); lower these settings or {where.cure}"
            )
    if fits(_kinds(demand), nodes, strategy):
        return None
    if strategy == "STRICT_PACK":
        return (
            f"placement_strategy='STRICT_PACK' puts {_all(demand)} on one node, and no node has "
            f"{_sum(demand)}; set placement_strategy='PACK' or lower {_num_settings(demand)}"
        )
    if strategy == "STRICT_SPREAD":
        return (
            f"placement_strategy='STRICT_SPREAD' puts each of {_all(demand)} on a node of its own, and "
            f"{where.name} has {_nodes_that_count(demand, nodes)}; set placement_strategy='SPREAD' or "
            f"{where.cure}"
        )
    return (
        f"{_all(demand)} ({_sum(demand)}) do not fit on the nodes of {where.name}, which have "
        f"{_each(demand, nodes)}; lower {_num_settings(demand)} or {where.cure}"
    )


def _in_the_way(demand: Demand, nodes: Sequence[Resources], strategy: PlacementStrategy) -> str | None:
    if fits(_kinds(demand), nodes, strategy):
        return None
    return (
        f"{_all(demand)} ({_sum(demand)}, placement_strategy={strategy!r}) do not fit beside what others use "
        f"on the cluster's nodes, which have {_each(demand, nodes)} left; wait with wait_for_resources_s or "
        f"lower {_num_settings(demand)}"
    )


def _kinds(demand: Demand) -> list[Kind]:
    return [_kind(group) for group in demand.groups]


def _kind(group: Bundles) -> Kind:
    return Kind(group.num, group.resources)


def _cure(demand: Demand, resource: str, *, nothing_there: bool = False) -> str:
    asking = [group for group in demand.groups if group.amount(resource)]
    if nothing_there:
        zero = "{}" if resource not in (CPU, GPU) else "0"
        return "set " + " and ".join(f"{group.settings[resource]}={zero}" for group in asking)
    return "lower " + " or ".join(group.num_setting for group in asking)


def _who(demand: Demand, resource: str) -> str:
    return " and ".join(
        f"{group.count()} with {_setting(group, resource)}"
        for group in demand.groups
        if group.amount(resource)
    )


def _setting(group: Bundles, resource: str) -> str:
    amount = f"{group.amount(resource):g}"
    if resource not in (CPU, GPU):
        amount = f"{{{resource!r}: {amount}}}"
    return f"{group.settings[resource]}={amount}"


def _settings(group: Bundles) -> str:
    return ", ".join(_setting(group, resource) for resource in group.resources)


def _num_settings(demand: Demand) -> str:
    return " or ".join(group.num_setting for group in demand.groups)


def _all(demand: Demand) -> str:
    return " and ".join(group.count() for group in demand.groups)


def _bundle(group: Bundles) -> str:
    return " and ".join(_amount(amount, resource) for resource, amount in group.resources.items())


def _sum(demand: Demand) -> str:
    return " and ".join(_amount(demand.total(resource), resource) for resource in demand.resources())


def _each(demand: Demand, nodes: Sequence[Resources]) -> str:
    shown = [
        " and ".join(_amount(node.get(resource, 0.0), resource) for resource in demand.resources())
        for node in nodes[:4]
    ]
    return "; ".join(shown) + ("; ..." if len(nodes) > len(shown) else "")


def _amount(amount: float, resource: str) -> str:
    if resource in (CPU, GPU):
        return f"{amount:g} {resource}{'s' * (amount != 1)}"
    return f"{amount:g} of {resource!r}"


def _nodes_that_count(demand: Demand, nodes: Sequence[Resources]) -> str:
    num = sum(any(can_hold(kind, node) for kind in _kinds(demand)) for node in nodes)
    return f"{num} node{'s' * (num != 1)} that can hold one"
