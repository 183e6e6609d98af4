"""Policies dealt to learner ranks: each rank owns some, and nothing is summed over ranks. Free of torch.

    rank 0 of 3    policies 0 3 6 ...
    rank 1         policies 1 4 7 ...
    rank 2         policies 2 5 8 ...

A number says for good whose a policy is, so that policies may come and go and no other one moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.learner.learner import StateTree
from outrider.wire import (
    Fragment,
    Weights,
    WeightsStack,
    all_parts,
    joint_fingerprint,
    stack_tensors,
    take_policies,
)

_BY_STREAM = "reward_scale"
"""The entry of a learner's state whose arrays have a row for each stream, the policy's number first."""


def rank_of(number: int, num_ranks: int) -> int:
    """Return the rank that a policy belongs to."""
    return number % num_ranks


def part_of_rank(fragment: Fragment, rank: int, num_ranks: int) -> Fragment:
    """Return the rows of a rank's policies, of all architectures; there may be none."""
    first, *others = (_part(replace(part, others=()), rank, num_ranks) for part in all_parts(fragment))
    return replace(first, others=tuple(part for part in others if part.num_rows))


def join_weights(parts: Sequence[Weights]) -> Weights:
    """Return the weights of all ranks as those of one learner that has all policies.

    Ranks that train at their own pace are not at one version. The whole is at the oldest, as are policies
    that are further on: so nothing is taken for newer than it is, and what is sent twice does no harm.
    """
    version = min(part.version for part in parts)
    names = dict.fromkeys(stack.name for part in parts for stack in part.stacks)
    joined = [_join_stack(name, parts, version) for name in names]
    stacks = tuple(stack for stack, _ in joined)
    return Weights(
        version=version,
        fingerprint=joint_fingerprint(stacks),
        tensors={name: tensor for _, tensors in joined for name, tensor in tensors.items()},
        stacks=stacks,
    )


def join_states(states: Sequence[StateTree]) -> StateTree:
    """Return the states of all ranks' `MultiAgentLearner` as that of one that has all policies."""
    names = dict.fromkeys(name for state in states for name in state["stacks"])
    return states[0] | {
        "version": max(state["version"] for state in states),
        "frozen": sorted({number for state in states for number in state["frozen"]}),
        "removed": sorted({number for state in states for number in state["removed"]}),
        "stacks": {
            name: _join_stack_states([s["stacks"][name] for s in states if name in s["stacks"]])
            for name in names
        },
    }


def state_of_rank(state: StateTree, rank: int, num_ranks: int) -> StateTree:
    """Return the part of `join_states` that is a rank's, however many ranks there were before."""
    stacks = {}
    for name, part in state["stacks"].items():
        is_own = part["numbers"] % num_ranks == rank
        if is_own.any():
            learner = part["learner"] if is_own.all() else _taken(part["learner"], is_own, part["numbers"])
            stacks[name] = {"numbers": part["numbers"][is_own], "learner": learner}
    return state | {
        "frozen": [number for number in state["frozen"] if rank_of(number, num_ranks) == rank],
        "stacks": stacks,
    }


def _join_stack_states(parts: Sequence[StateTree]) -> StateTree:
    if len(parts) == 1:
        return parts[0]
    numbers = np.concatenate([part["numbers"] for part in parts])
    order = np.argsort(numbers)
    return {"numbers": numbers[order], "learner": _joined([part["learner"] for part in parts], order)}


def _joined(trees: Sequence[StateTree], order: NDArray[np.intp]) -> StateTree:
    """Join states of learners of stacked policies, whose arrays have a row for each policy."""
    joined: StateTree = {}
    for name, value in trees[0].items():
        children = [tree[name] for tree in trees]
        if name == _BY_STREAM:
            joined[name] = _joined_streams(children)
        elif isinstance(value, dict):
            joined[name] = _joined(children, order)
        elif isinstance(value, np.ndarray):
            joined[name] = np.concatenate(children)[order]
        else:  # how many updates there were: a rank without rows for its policies has fewer
            joined[name] = max(children)
    return joined


def _joined_streams(parts: Sequence[StateTree]) -> StateTree:
    keys = np.concatenate([part["stream_keys"] for part in parts])
    order = np.lexsort(keys.T[::-1])
    return {
        "stream_keys": keys[order],
        "gathered": np.concatenate([part["gathered"] for part in parts])[order],
    }


def _taken(tree: StateTree, is_own: NDArray[np.bool_], numbers: NDArray[np.int32]) -> StateTree:
    """Take some policies out of what `_joined` returned."""
    taken: StateTree = {}
    for name, value in tree.items():
        if name == _BY_STREAM:
            is_own_stream = np.isin(value["stream_keys"][:, 0], numbers[is_own])
            taken[name] = {key: column[is_own_stream] for key, column in value.items()}
        elif isinstance(value, dict):
            taken[name] = _taken(value, is_own, numbers)
        else:
            taken[name] = value[is_own] if isinstance(value, np.ndarray) else value
    return taken


def _part(part: Fragment, rank: int, num_ranks: int) -> Fragment:
    numbers = np.unique(part.streams.policy)
    return take_policies(part, numbers[numbers % num_ranks == rank])


def _join_stack(
    name: str, parts: Sequence[Weights], version: int
) -> tuple[WeightsStack, dict[str, NDArray[Any]]]:
    held = [(part, stack) for part in parts for stack in part.stacks if stack.name == name]
    stacks = [stack for _, stack in held]
    numbers = np.concatenate([stack.policies for stack in stacks])
    order = np.argsort(numbers)
    versions = np.minimum(np.concatenate([stack.versions for stack in stacks])[order], version)
    tensors = [stack_tensors(part, stack) for part, stack in held]
    joined = {f"{name}/{key}": np.concatenate([part[key] for part in tensors])[order] for key in tensors[0]}
    return replace(stacks[0], policies=numbers[order], versions=versions), joined
