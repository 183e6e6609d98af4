"""Weights of several policies: their stacks, found among the tensors, checked and named together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire.weights import Weights, WeightsStack

_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)


def joint_fingerprint(stacks: Sequence[WeightsStack]) -> str:
    """Return the fingerprint of weights that have stacks: of all architectures of a run and their names.

    It depends on neither the order of the stacks nor which policies they hold.
    """
    digest = hashlib.sha256()
    for name, fingerprint in sorted((stack.name, stack.fingerprint) for stack in stacks):
        digest.update(f"{name}/{fingerprint}\n".encode())
    return digest.hexdigest()[:32]


def stack_tensors(weights: Weights, stack: WeightsStack) -> dict[str, NDArray[Any]]:
    """Return the tensors of one stack, [P, ...], by the names that a policy alone has for them."""
    prefix = f"{stack.name}/"
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.tensors.items()
        if name.startswith(prefix)
    }


def check_stacks(weights: Weights) -> None:
    """Raise ValueError with the first rule of `WeightsStack` that weights with stacks break."""
    num_policies: dict[str, int] = {}
    for stack in weights.stacks:
        if not stack.name or "/" in stack.name:
            raise ValueError(f"a stack is called {stack.name!r}; its name is not empty and has no '/'")
        if stack.name in num_policies:
            raise ValueError(f"two stacks are called {stack.name!r}; each has a name of its own")
        _check_policies(stack, weights.version)
        num_policies[stack.name] = len(stack.policies)
    _check_apart(weights.stacks)
    for name, tensor in weights.tensors.items():
        size = num_policies.get(name.partition("/")[0]) if "/" in name else None
        if size is None:
            raise ValueError(
                f"tensor {name!r} belongs to none of the stacks {list(num_policies)}; "
                "a tensor is called after its stack, then '/', then by its own name"
            )
        if not tensor.ndim or len(tensor) != size:
            raise ValueError(f"tensor {name!r} has shape {tensor.shape}; its stack has {size} policies")


def _check_policies(stack: WeightsStack, version: int) -> None:
    policies, versions = stack.policies, stack.versions
    if (policies.dtype, versions.dtype) != (_INT32, _INT64):
        raise ValueError(
            f"stack {stack.name!r} has {policies.dtype} policies and {versions.dtype} versions; "
            "use int32 and int64"
        )
    if policies.ndim != 1 or policies.shape != versions.shape:
        raise ValueError(
            f"stack {stack.name!r} has {policies.shape} policies and {versions.shape} versions; both are [P]"
        )
    if not len(policies):
        return
    if policies[0] < 0 or (policies[1:] <= policies[:-1]).any():
        raise ValueError(
            f"the policies of stack {stack.name!r} are not ascending from 0 or later; sort them, each once"
        )
    if versions.min() < 0 or versions.max() > version:
        raise ValueError(
            f"policies of stack {stack.name!r} changed at versions {versions.min()} to {versions.max()} of "
            f"weights of version {version}; they changed at that one or before"
        )


def _check_apart(stacks: Sequence[WeightsStack]) -> None:
    number = np.sort(np.concatenate([stack.policies for stack in stacks]))
    twice = number[1:][number[1:] == number[:-1]]
    if len(twice):
        raise ValueError(f"policy {twice[0]} is in two stacks; a policy has one architecture")
