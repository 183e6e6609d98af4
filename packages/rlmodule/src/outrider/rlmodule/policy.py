"""A policy: a network with its normalisers, mask and distribution, as learners and exports hold it.

Axes: B rows; S streams; T time; k action parameters.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from outrider.rlmodule.action_mask import ActionMask, action_mask
from outrider.rlmodule.central_critic import CentralCritic, critic_leaves
from outrider.rlmodule.distribution import Distribution
from outrider.rlmodule.fingerprint import fingerprint
from outrider.rlmodule.normalizer import ObservationNormalizer, RunningNormalizer
from outrider.rlmodule.paths import CRITIC_PATH
from outrider.rlmodule.protocols import RecurrentRLModule, SequenceRLModule, forward_by_steps
from outrider.wire import (
    BoxSpace,
    DictSpace,
    Space,
    TensorSpec,
    TupleSpace,
    Weights,
    action_heads,
    leaves,
)
from outrider.wire.space import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.rlmodule.protocols import Observation
    from outrider.rlmodule.recurrent_network import RecurrentNetwork
    from outrider.rlmodule.settings import ModuleSettings
    from outrider.rlmodule.stacked_sequences import StackedSequences


class Policy(nn.Module):
    """What acts and learns. Observations are {leaf path: tensor [B, ...]}, raw.

    Where there is a `critic_space`, observations to value also have its leaves, under `CRITIC_PATH`. To
    act without them is fine; values are then not a number. With tensors [P, ...] in the place of its own
    it is P policies at once, for rows [P, B, ...]; `PolicyStack` is the way there.
    """

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        network: nn.Module,
        settings: ModuleSettings,
        critic_space: Space | None = None,
    ) -> None:
        """Put normalisers and mask around a network that obeys `RLModule` or `RecurrentRLModule`."""
        super().__init__()
        _check_bounds(action_space, settings)
        self.observation_space = observation_space
        self.action_space = action_space
        self.critic_space = critic_space
        self.action_heads = action_heads(action_space, box=settings.box_distribution)
        self.distribution = Distribution(self.action_heads)
        self.network = network
        self.observation_normalizer = _observation_normalizer(observation_space, critic_space, settings)
        self.reward_normalizer = (
            RunningNormalizer((), clip=settings.reward_clip) if settings.normalize_rewards else None
        )
        self.is_recurrent = isinstance(network, RecurrentRLModule)
        self.state_spec: dict[str, TensorSpec] = _state_spec(network)
        self._knows_sequences = isinstance(network, SequenceRLModule)
        self._mask: ActionMask | None = action_mask(observation_space, self.action_heads)
        self._paths = _paths(observation_space)
        self._critic = None if critic_space is None else CentralCritic(observation_space, critic_space)
        self._critic_paths = None if critic_space is None else _paths(critic_space, CRITIC_PATH)
        self._fingerprint: str | None = None

    def forward(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return action parameters [B, k] and values [B] of a policy without recurrent state."""
        if self.is_recurrent:
            raise ValueError("this policy is recurrent; call step or forward_sequence, which take its state")
        observation, critic = self.nested(observations)
        parameters, values = self.network(observation, *critic)
        if self._mask is not None:
            parameters = self._mask(parameters, observations[self._mask.path])
        return parameters, self._known(values, observations)

    def step(
        self, observations: Mapping[str, Tensor], state: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return action parameters [B, k], values [B] and the next state {name: [B, ...]}.

        Without recurrent state this is `forward`, and both states are empty.
        """
        if not self.is_recurrent:
            return *self(observations), {}
        observation, critic = self.nested(observations)
        parameters, values, next_state = self.network(observation, state, *critic)
        if self._mask is not None:
            parameters = self._mask(parameters, observations[self._mask.path])
        return parameters, self._known(values, observations), next_state

    def forward_sequence(
        self, observations: Mapping[str, Tensor], state: dict[str, Tensor], starts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return action parameters [S, T, k] and values [S, T] of observations {path: [S, T, ...]}.

        `state` {name: [S, ...]} is that before each stream's first row; it is zeroed before every row
        where `starts` [S, T] is true. Without recurrent state both are ignored.
        """
        shape = starts.shape
        if not self.is_recurrent:
            parameters, values = self({path: rows.flatten(0, 1) for path, rows in observations.items()})
            return parameters.reshape(*shape, -1), values.reshape(shape)
        observation, critic = self.nested(observations)
        if self._knows_sequences:
            network = cast("SequenceRLModule", self.network)
            parameters, values = network.forward_sequence(observation, state, starts, *critic)
        else:
            parameters, values = forward_by_steps(self.network, observation, state, starts, *critic)
        if self._mask is not None:
            mask = observations[self._mask.path].flatten(0, 1)
            parameters = self._mask(parameters.flatten(0, 1), mask).reshape(*shape, -1)
        return parameters, self._known(values, observations)

    def unroll(
        self, observations: Mapping[str, Tensor], sequences: StackedSequences
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Run sequences of the rows [P, B, ...] of P policies of the catalogue, whose tensors these are.

        Returns action parameters [P, B, k], values [P, B], and the state after each place of `sequences`
        {name: [P, L, ...]}, without gradient. What comes out for rows of no sequence means nothing.
        """
        observation, critic = self.nested(observations)
        network = cast("RecurrentNetwork", self.network)
        parameters, values, states = network.unroll(observation, sequences, *critic)
        if self._mask is not None:
            parameters = self._mask(parameters, observations[self._mask.path])
        return parameters, self._known(values, observations), states

    def nested(self, observations: Mapping[str, Tensor]) -> tuple[Observation, tuple[Observation, ...]]:
        """Return observation and critic's part as a network takes them: normalised, as their space nests."""
        if self._critic is not None:
            observations = self._critic.completed(observations)
        if self.observation_normalizer is not None:
            observations = self.observation_normalizer(observations)
        observation = observations[""] if self._paths == "" else _filled(self._paths, observations)
        if self._critic is None:
            return observation, ()
        return observation, (_filled(self._critic_paths, observations),)

    def _known(self, values: Tensor, observations: Mapping[str, Tensor]) -> Tensor:
        return values if self._critic is None else self._critic.known(values, observations)

    def fingerprint(self) -> str:
        """Return a text that is equal for policies whose weights fit each other."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(
                self, self.observation_space, self.action_space, self.action_heads, self.critic_space
            )
        return self._fingerprint

    def weights(self, version: int) -> Weights:
        """Copy all parameters and normaliser statistics, in their own dtypes, to NumPy arrays."""
        tensors = {name: np.array(t.detach().cpu().numpy()) for name, t in self.state_dict().items()}
        return Weights(version=version, fingerprint=self.fingerprint(), tensors=tensors)

    @torch.no_grad()
    def load_weights(self, weights: Weights) -> None:
        """Take over what `weights` returned, here or elsewhere."""
        if weights.fingerprint != self.fingerprint():
            raise ValueError(
                f"weights of fingerprint {weights.fingerprint} do not fit this policy, whose fingerprint is "
                f"{self.fingerprint()}; build it with the spaces and module settings they were made with"
            )
        for name, tensor in self.state_dict().items():
            tensor.copy_(torch.from_numpy(np.array(weights.tensors[name])))


def _paths(space: Space, path: str = "") -> Any:  # noqa: ANN401 - as nested as the space
    """Return the structure of a space with each leaf's path in its place."""
    match space:
        case DictSpace():
            return {name: _paths(child, f"{path}/{escape(name)}") for name, child in space.spaces.items()}
        case TupleSpace():
            return tuple(_paths(child, f"{path}/{index}") for index, child in enumerate(space.spaces))
        case _:
            return path


def _filled(paths: Any, observations: Mapping[str, Tensor]) -> Observation:  # noqa: ANN401 - of `_paths`
    match paths:
        case str():
            return observations[paths]
        case dict():
            return {name: _filled(part, observations) for name, part in paths.items()}
        case _:
            return tuple(_filled(part, observations) for part in paths)


def _observation_normalizer(
    space: Space, critic_space: Space | None, settings: ModuleSettings
) -> ObservationNormalizer | None:
    if not settings.normalize_observations:
        return None
    shapes = {
        path: leaf.low.shape
        for path, leaf in (leaves(space) | critic_leaves(critic_space)).items()
        if isinstance(leaf, BoxSpace) and leaf.low.dtype.kind == "f" and path != ActionMask.path
    }
    if not shapes:
        warnings.warn(
            "normalize_observations=True is ignored: the observation space has no Box of floats", stacklevel=3
        )
        return None
    return ObservationNormalizer(shapes, clip=settings.observation_clip)


def _state_spec(network: nn.Module) -> dict[str, TensorSpec]:
    if not isinstance(network, RecurrentRLModule):
        return {}
    return {
        name: TensorSpec(shape=tuple(zeros.shape), dtype=zeros.numpy().dtype)
        for name, zeros in network.initial_state().items()
    }


def _check_bounds(space: Space, settings: ModuleSettings) -> None:
    if settings.box_distribution == "gaussian":
        return
    for path, leaf in leaves(space).items():
        if isinstance(leaf, BoxSpace) and not (np.isfinite(leaf.low).all() and np.isfinite(leaf.high).all()):
            where = f" at {path!r}" if path else ""
            raise ValueError(
                f"box_distribution='squashed_gaussian' needs finite bounds, and the action space{where} has "
                "infinite ones; use 'gaussian', or rescale the actions with a wrapper"
            )
