"""Tries a user's network on two rows of zeros, so that a wrong shape is named before training starts."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch
from torch import nn

from outrider.rlmodule.zero_rows import zero_observations, zero_state

if TYPE_CHECKING:
    from outrider.rlmodule.policy import Policy

NUM_ROWS = 2
ARGUMENTS = "observation space, action space and number of action parameters"


def require_factory(network: object) -> None:
    """Raise ValueError if `network` cannot be called with the three arguments of `NetworkFactory`."""
    if not callable(network):
        raise ValueError(
            f"network is {network!r}; give a callable that makes a torch.nn.Module from {ARGUMENTS}"
        )
    try:
        inspect.signature(network).bind(None, None, 0)
    except TypeError as error:
        name = getattr(network, "__name__", repr(network))
        raise ValueError(f"network {name} cannot be called with {ARGUMENTS}: {error}") from None


def require_module(module: object, network: object) -> None:
    """Raise ValueError if `network` made something else than a torch.nn.Module."""
    if not isinstance(module, nn.Module):
        name = getattr(network, "__name__", repr(network))
        raise ValueError(f"network {name} made a {type(module).__name__}; it must make a torch.nn.Module")


@torch.no_grad()
def check_network(policy: Policy) -> None:
    """Raise ValueError if what the network returns is not what `RLModule` promises."""
    name = type(policy.network).__name__
    was_training = policy.training
    policy.eval()
    observations = zero_observations(policy.observation_space, NUM_ROWS)
    state = zero_state(policy.state_spec, NUM_ROWS)
    observation, critic = policy.nested(observations)
    arguments = (observation, state, *critic) if policy.is_recurrent else (observation, *critic)
    result = policy.network(*arguments)
    policy.train(was_training)
    parts = (
        "(action parameters, values, next state)" if policy.is_recurrent else "(action parameters, values)"
    )
    num_parts = 3 if policy.is_recurrent else 2
    if not isinstance(result, tuple) or len(result) != num_parts:
        raise ValueError(f"{name}.forward returned {_shown(result)}; it must return the tuple {parts}")
    num_parameters = policy.action_heads[-1].stop
    _check_tensor(f"{name}.forward: action parameters", result[0], (NUM_ROWS, num_parameters))
    _check_tensor(f"{name}.forward: values", result[1], (NUM_ROWS,))
    if policy.is_recurrent:
        if result[2].keys() != state.keys():
            raise ValueError(
                f"{name}.forward returned the next state {sorted(result[2])}, and initial_state has "
                f"{sorted(state)}; the names must be equal"
            )
        for key, before in state.items():
            _check_tensor(f"{name}.forward: next state {key!r}", result[2][key], tuple(before.shape))


def _check_tensor(what: str, tensor: object, shape: tuple[int, ...]) -> None:
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != shape:
        raise ValueError(
            f"{what} for {NUM_ROWS} rows must be a tensor of shape {shape}, not {_shown(tensor)}"
        )


def _shown(result: object) -> str:
    if isinstance(result, torch.Tensor):
        return f"one of shape {tuple(result.shape)}"
    return f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"
