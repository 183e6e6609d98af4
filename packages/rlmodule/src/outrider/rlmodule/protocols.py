"""What a network must offer to be trained. Axes: B rows; S streams; T time; k action parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from outrider.wire import Space

Observation: TypeAlias = Any
"""A tensor for a leaf space; a dict or tuple of observations for a nested one."""


class RLModule(Protocol):
    """A torch.nn.Module that acts by the present observation alone."""

    def forward(self, observation: Observation, *critic: Observation) -> tuple[Tensor, Tensor]:
        """Return action parameters [B, k] and values [B].

        The observation has the structure of its space and tensors [B, ...] in the dtype of each
        leaf; where observations are normalised, float Box leaves come as float32 and normalised.
        Where the policy has a central critic, and only there, what that sees besides comes as a last
        argument, which may matter to values alone. It is zeros where the policy only acts.
        """
        ...


@runtime_checkable
class RecurrentRLModule(Protocol):
    """A torch.nn.Module that remembers."""

    def initial_state(self) -> dict[str, Tensor]:
        """Return zeros in the shape of each recurrent tensor, without the batch axis."""
        ...

    def forward(
        self, observation: Observation, state: dict[str, Tensor], *critic: Observation
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Take one step: return action parameters [B, k], values [B] and the next state [B, ...].

        `critic` is as for `RLModule`; the next state must not depend on it.
        """
        ...


@runtime_checkable
class SequenceRLModule(RecurrentRLModule, Protocol):
    """A recurrent module that knows a faster way through a sequence than step by step."""

    def forward_sequence(
        self, observation: Observation, state: dict[str, Tensor], starts: Tensor, *critic: Observation
    ) -> tuple[Tensor, Tensor]:
        """Return action parameters [S, T, k] and values [S, T].

        Observations are [S, T, ...], `state` [S, ...] is that before the first row, and where
        `starts` [S, T] is true the state is zeroed before that row.
        """
        ...


class NetworkFactory(Protocol):
    """Makes a user's network; a class of torch.nn.Module with this `__init__` is one."""

    def __call__(
        self, observation_space: Space, action_space: Space, num_action_parameters: int, /
    ) -> nn.Module:
        """Make a module that obeys `RLModule` or `RecurrentRLModule`."""
        ...


def forward_by_steps(
    network: Callable[..., Any],
    observation: Observation,
    state: dict[str, Tensor],
    starts_ST: Tensor,
    *critic: Observation,
) -> tuple[Tensor, Tensor]:
    """Walk a recurrent module through a sequence one step at a time; see `SequenceRLModule`."""
    parameters, values = [], []
    for t in range(starts_ST.shape[1]):
        state = {name: _zeroed(rows, starts_ST[:, t]) for name, rows in state.items()}
        step_parameters, step_values, state = network(
            _at_step(observation, t), state, *(_at_step(part, t) for part in critic)
        )
        parameters.append(step_parameters)
        values.append(step_values)
    return torch.stack(parameters, 1), torch.stack(values, 1)


def _zeroed(rows: Tensor, start_S: Tensor) -> Tensor:
    """Overwrite and not multiply: a state that is not a number ends here too."""
    return rows.masked_fill(start_S.reshape(-1, *[1] * (rows.dim() - 1)), 0)


def _at_step(observation: Observation, t: int) -> Observation:
    match observation:
        case dict():
            return {name: _at_step(part, t) for name, part in observation.items()}
        case tuple():
            return tuple(_at_step(part, t) for part in observation)
        case _:
            return observation[:, t]
