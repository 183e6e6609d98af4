"""The weights of some policies out of those of many. Axis: P = policies of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from outrider.wire import Weights

Flags = NDArray[np.bool_]


def chosen_policies(weights: Weights, chosen: Mapping[str, Flags]) -> Weights:
    """Return those that are `chosen` [P], by stack; the very object where all are."""
    if all(mask.all() for mask in chosen.values()):
        return weights
    return replace(
        weights,
        tensors={name: tensor[chosen[name.partition("/")[0]]] for name, tensor in weights.tensors.items()},
        stacks=tuple(
            replace(
                stack,
                policies=stack.policies[chosen[stack.name]],
                versions=stack.versions[chosen[stack.name]],
            )
            for stack in weights.stacks
        ),
    )


def of_policies(weights: Weights, policies: NDArray[np.int32], *, since: int | None = None) -> Weights:
    """Return the weights of these policies, as far as there are any, that changed after version `since`."""
    return chosen_policies(
        weights,
        {
            stack.name: np.isin(stack.policies, policies) & (since is None or stack.versions > since)
            for stack in weights.stacks
        },
    )
