"""How runners of several agents act and for whom, as plain values: what is attached to their assignment.

    {"stacks": {"mlp": {"policy_graph": b"...", "is_stacked": True}}, "cast": {...}}

The cast is a `Cast` as a message, whose mapping is None where the runner's own function is the mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import Matchups
from outrider.wire import (
    Bytes,
    Limits,
    PolicyGraph,
    WireError,
    decode_policy_graph,
    decode_tree,
    encode_policy_graph,
)

FROM_THE_RUN = Limits(max_header_bytes=32 * 2**20)
"""How large trees may be that a runner is given: names of 10,000 policies, and a few matchups of as many
agents, are some megabytes; so are the states of thousands of environments."""


def team_message(plan: MultiAgentPlan) -> dict[str, Any]:
    """Return plain values. Raises ValueError for policies that cannot be exported."""
    cast = Cast(
        stacks={stack.name: stack.name for stack in plan.stacks},
        policies=plan.policies,
        mapping=plan.mapping if isinstance(plan.mapping, Matchups) else None,
    )
    return {
        "stacks": {
            stack.name: {"policy_graph": _graph(stack), "is_stacked": stack.is_stacked}
            for stack in plan.stacks
        },
        "cast": cast.to_message(),
    }


def _graph(stack: StackPlan) -> bytes:
    if not isinstance(stack.policy, PolicyGraph):
        raise ValueError(f"stack {stack.name!r} cannot be exported; use a network that can be")
    return encode_policy_graph(stack.policy).to_bytes()


def read_team(message: Bytes) -> tuple[tuple[StackPlan, ...], Cast]:
    """Return the stacks and the cast of a message. Raises WireError where it is none."""
    team = decode_tree(message, FROM_THE_RUN)
    try:
        stacks = tuple(_stack(name, stack) for name, stack in team["stacks"].items())
        return stacks, Cast.from_message(team["cast"])
    except (AttributeError, KeyError, TypeError) as error:
        raise WireError(
            f"what is attached to an assignment for several agents lacks something: {error!r}"
        ) from error


def _stack(name: str, message: Mapping[str, Any]) -> StackPlan:
    return StackPlan(
        name=name,
        policy=decode_policy_graph(message["policy_graph"]),
        is_stacked=bool(message["is_stacked"]),
    )
