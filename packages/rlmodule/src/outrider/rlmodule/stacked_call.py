"""How stacked policies are computed by the code of one.

Layers of the catalogue know tensors with a first axis P and compute batched products, and convolutions with
a group for each policy. Networks of the user's go through torch.vmap.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from outrider.rlmodule.feed_forward_network import FeedForwardNetwork
from outrider.rlmodule.recurrent_network import RecurrentNetwork
from outrider.rlmodule.zero_rows import zero_observations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outrider.rlmodule.policy import Policy

NUM_TRIED = 2
CURE = "give each such policy a stack of its own, which computes it as it is"

Module = TypeVar("Module", bound=nn.Module)


class StackedCall(Protocol):
    """Computes the policies whose tensors are given, [P, ...], on rows {path: [P, B, ...]}."""

    def __call__(
        self, policy: Policy, tensors: Mapping[str, Tensor], observations: Mapping[str, Tensor], /
    ) -> tuple[Tensor, Tensor]:
        """Return action parameters [P, B, k] and values [P, B]."""
        ...


def stacked_call(policy: Policy) -> StackedCall:
    """Choose how policies like this one are computed; raises ValueError where there is no way.

    Those that remember go through `outrider.rlmodule.stacked_recurrence`.
    """
    if is_batched(policy):
        return _batched
    rows = zero_observations(policy.observation_space, NUM_TRIED, NUM_TRIED)
    require_vmapped(policy, lambda tensors: _vmapped(policy, tensors, rows))
    return _vmapped


def require_vmapped(policy: Policy, attempt: Callable[[dict[str, Tensor]], object]) -> None:
    """Raise ValueError unless stacked policies can be computed through torch.vmap, as `attempt` tries."""
    name = type(policy.network).__name__
    names = [name for name, _ in policy.named_parameters(remove_duplicate=False)]
    if len(names) > len(list(policy.parameters())):
        raise ValueError(f"{name} uses a parameter in two places, which stacking would part; {CURE}")
    tensors = {name: torch.stack([t] * NUM_TRIED) for name, t in policy.state_dict().items()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            attempt(tensors)
    except Exception as error:
        reason = str(error).strip().split("\n", 1)[0].split(". ", 1)[0]
        raise ValueError(f"{name} cannot be stacked: torch.vmap says: {reason}; {CURE}") from error


def is_batched(policy: Policy) -> bool:
    """Whether every layer knows stacked tensors."""
    return type(policy.network) in {FeedForwardNetwork, RecurrentNetwork}


def held(module: Module, tensors: Mapping[str, Tensor]) -> Module:
    """Copy a module, with these tensors themselves in the place of its state's."""
    memo = {id(own): tensors[name] for name, own in module.state_dict(keep_vars=True).items()}
    return copy.deepcopy(module, memo)


def _batched(
    policy: Policy, tensors: Mapping[str, Tensor], observations: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    # Nothing is tied, or it would have been refused; looking for it takes a third of a small call.
    result: tuple[Tensor, Tensor] = functional_call(policy, dict(tensors), (observations,), tie_weights=False)
    return result


def _vmapped(
    policy: Policy, tensors: Mapping[str, Tensor], observations: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    return torch.vmap(lambda *given: _batched(policy, *given), randomness="different")(
        dict(tensors), dict(observations)
    )
