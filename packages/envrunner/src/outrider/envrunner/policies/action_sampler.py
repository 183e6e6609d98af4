"""Draws actions from a policy's parameters and hands them to the environment in its own units."""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.environments.spaces import column_writer, space_from_gymnasium
from outrider.envrunner.policies.head_sampling import Floats, head_sampling
from outrider.wire import (
    ActionHead,
    BoxSpace,
    Columns,
    DiscreteSpace,
    LeafSpace,
    MultiDiscreteSpace,
    action_heads,
    leaves,
)

_STEPS_AHEAD = 8
"""Noise is drawn for so many more steps where it was drawn for too few rows."""
_Convert = Callable[[NDArray[Any]], NDArray[Any]]


class ActionSampler:
    """Samples every head of an action space with one random generator."""

    def __init__(
        self, heads: Sequence[ActionHead], action_space: gym.Space[Any], rng: np.random.Generator
    ) -> None:
        """Take the heads as `action_heads` laid them out for `action_space`, the space of one environment.

        Raises ValueError where the heads do not belong to that space.
        """
        space = space_from_gymnasium(action_space)
        space_leaves = leaves(space)
        offered = [(head.path, head.sizes, head.shape) for head in heads]
        expected = [(head.path, head.sizes, head.shape) for head in action_heads(space)]
        if offered != expected:
            raise ValueError(
                f"the policy's actions (path, sizes, shape) are {offered}, the environment's action space "
                f"{action_space} has {expected}; make both from one environment"
            )
        self._rng = rng
        self._heads = [(head.path, head_sampling(head)) for head in heads]
        self._convert = {head.path: _to_environment(head, space_leaves[head.path]) for head in heads}
        self._write = column_writer(action_space)
        self._noise: list[Floats] = []
        self._next = self._num_drawn = 0

    def draw_noise(self, num_steps: int, num_rows: int) -> None:
        """Draw the random numbers of the next `num_steps` calls of `sample`, and forget those left over."""
        self._num_drawn = num_steps * num_rows
        self._noise = [head.noise(self._rng, num_steps, num_rows) for _, head in self._heads]
        self._noise = [noise.reshape(self._num_drawn, *noise.shape[2:]) for noise in self._noise]
        self._next = 0

    def sample(self, parameters: Floats) -> dict[str, NDArray[Any]]:
        """Draw an action [B, ...] for each row of [B, k], in policy units, with the noise drawn before.

        Where too little of that is left, more is drawn.
        """
        start = self._next
        self._next = stop = start + len(parameters)
        if stop > self._num_drawn:
            self.draw_noise(_STEPS_AHEAD, len(parameters))
            start, self._next = 0, len(parameters)
            stop = self._next
        actions = {}
        for (path, head), noise in zip(self._heads, self._noise, strict=True):
            actions[path] = head.sample(parameters, noise[start:stop])
        return actions

    def most_likely(self, parameters: Floats) -> dict[str, NDArray[Any]]:
        """Return the most likely action [B, ...] for each row of [B, k], in policy units."""
        return {path: head.most_likely(parameters) for path, head in self._heads}

    def log_probs(self, parameters: Floats, actions: Columns) -> Floats:
        """Return the log-probabilities [...] of actions [..., *shape] under parameters [..., k]."""
        total: Floats | None = None
        for path, head in self._heads:
            log_probs = head.log_probs(parameters, actions[path])
            total = log_probs if total is None else total + log_probs
        assert total is not None
        return total

    def to_environment(self, actions: Columns) -> Any:
        """Turn actions in policy units into what a vector environment's `step` takes."""
        return self._write(self.in_environment_units(actions))

    def in_environment_units(self, actions: Columns) -> dict[str, NDArray[Any]]:
        """Turn actions in policy units into those of the environment, by leaf path."""
        return {path: self._convert[path](column) for path, column in actions.items()}

    def get_state(self) -> dict[str, Any]:
        """Return the random generator's state."""
        state: Mapping[str, Any] = self._rng.bit_generator.state
        return dict(state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self._rng.bit_generator.state = state


def _to_environment(head: ActionHead, leaf: LeafSpace) -> _Convert:
    match leaf:
        case DiscreteSpace(start=0):
            return _unchanged
        case DiscreteSpace(start=start) | MultiDiscreteSpace(start=start):
            return lambda actions: actions + start
        case BoxSpace(low=low, high=high):
            return _scale(low, high, squash=head.kind == "squashed_gaussian", path=head.path)
        case _:
            return _unchanged


def _unchanged(actions: NDArray[Any]) -> NDArray[Any]:
    return actions


def _scale(low: NDArray[Any], high: NDArray[Any], *, squash: bool, path: str) -> _Convert:
    """Map -1..1 to the bounds of bounded components; clip all components to the bounds they have."""
    with np.errstate(over="ignore"):  # bounds at the ends of their dtype are none
        bounded = np.isfinite(high - low)
    if squash and not bounded.all():
        where = f" at {path!r}" if path else ""
        raise ValueError(
            f"the action space{where} has infinite bounds, which tanh cannot reach; use "
            'box_distribution="gaussian" or bound the space with a wrapper'
        )
    finite_low, finite_high = np.where(bounded, low, -1), np.where(bounded, high, 1)
    half_range = ((finite_high - finite_low) / 2).astype(low.dtype)
    center = (finite_low + half_range).astype(low.dtype)

    def scale(actions: NDArray[Any]) -> NDArray[Any]:
        scaled: NDArray[Any] = half_range * (np.tanh(actions) if squash else actions)
        scaled += center
        np.maximum(scaled, low, out=scaled)
        np.minimum(scaled, high, out=scaled)
        return scaled

    return scale
