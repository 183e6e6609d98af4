"""Draws the actions of one action head, and their log-probabilities. Pure NumPy.

Axes: T = vector steps, B = rows (environments), k = the policy's parameters, n = components of the
action, v = values of a component. Noise is drawn for many steps at once, because a call of the random
generator costs more than the numbers it makes; a step then only combines noise and parameters.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.wire import ActionHead

Floats = NDArray[np.float32]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class HeadSampling(Protocol):
    """How actions of one head are drawn from its parameters."""

    def noise(self, rng: np.random.Generator, num_steps: int, num_rows: int) -> Floats:
        """Draw what `sample` needs for `num_steps` steps: [T, B, ...]."""
        ...

    def sample(self, parameters_Bk: Floats, noise_B: Floats) -> NDArray[Any]:
        """Draw an action for each row: [B, *shape], a new array."""
        ...

    def most_likely(self, parameters_Bk: Floats) -> NDArray[Any]:
        """Return each row's most likely action: [B, *shape], a new array."""
        ...

    def log_probs(self, parameters: Floats, actions: NDArray[Any]) -> Floats:
        """Return log-probabilities [...] of actions [..., *shape] under parameters [..., k]."""
        ...


def head_sampling(head: ActionHead) -> HeadSampling:
    """Choose the sampling for a head's kind."""
    match head.kind:
        case "categorical" if head.shape == ():
            return Categorical(head)
        case "categorical":
            return MultiCategorical(head)
        case "bernoulli":
            return Bernoulli(head)
        case "gaussian":
            return Gaussian(head)
        case "squashed_gaussian":
            return SquashedGaussian(head)


class Categorical:
    """One index from 0: argmax(logits + Gumbel noise) has the softmax distribution."""

    def __init__(self, head: ActionHead) -> None:
        """Take the columns of `head`."""
        self._columns = slice(head.start, head.stop)
        self._num_values = head.stop - head.start

    def noise(self, rng: np.random.Generator, num_steps: int, num_rows: int) -> Floats:
        """Draw Gumbel noise [T, B, v]."""
        return _gumbel(rng, (num_steps, num_rows, self._num_values))

    def sample(self, parameters_Bk: Floats, noise_B: Floats) -> NDArray[Any]:
        """Draw an index [B] for each row."""
        indices: NDArray[np.int64] = (parameters_Bk[:, self._columns] + noise_B).argmax(1)
        return indices

    def most_likely(self, parameters_Bk: Floats) -> NDArray[Any]:
        """Return each row's most likely index [B]."""
        indices: NDArray[np.int64] = parameters_Bk[:, self._columns].argmax(1)
        return indices

    def log_probs(self, parameters: Floats, actions: NDArray[Any]) -> Floats:
        """Return log softmax(logits)[action]."""
        return _categorical_log_probs(parameters[..., self._columns], actions)


class MultiCategorical:
    """Several independent indices, each with its own number of values."""

    def __init__(self, head: ActionHead) -> None:
        """Take the columns of `head`."""
        self._columns = slice(head.start, head.stop)
        self._shape = head.shape
        bounds = np.cumsum((0, *head.sizes)).tolist()
        self._components = [slice(start, stop) for start, stop in pairwise(bounds)]

    def noise(self, rng: np.random.Generator, num_steps: int, num_rows: int) -> Floats:
        """Draw Gumbel noise, one for each logit."""
        return _gumbel(rng, (num_steps, num_rows, self._columns.stop - self._columns.start))

    def sample(self, parameters_Bk: Floats, noise_B: Floats) -> NDArray[Any]:
        """Draw indices [B, *shape]."""
        return self._argmax(parameters_Bk[:, self._columns] + noise_B)

    def most_likely(self, parameters_Bk: Floats) -> NDArray[Any]:
        """Return each component's most likely index [B, *shape]."""
        return self._argmax(parameters_Bk[:, self._columns])

    def log_probs(self, parameters: Floats, actions: NDArray[Any]) -> Floats:
        """Sum the components' log-probabilities."""
        logits = parameters[..., self._columns]
        actions_n = actions.reshape(*logits.shape[:-1], len(self._components))
        total = np.zeros(logits.shape[:-1], np.float32)
        for index, component in enumerate(self._components):
            total += _categorical_log_probs(logits[..., component], actions_n[..., index])
        return total

    def _argmax(self, scores: Floats) -> NDArray[Any]:
        actions = np.empty((len(scores), len(self._components)), np.int64)
        for index, component in enumerate(self._components):
            scores[:, component].argmax(1, actions[:, index])
        return actions.reshape(len(scores), *self._shape)


class Bernoulli:
    """Independent zeros and ones, by their logits."""

    def __init__(self, head: ActionHead) -> None:
        """Take the columns of `head`."""
        self._columns = slice(head.start, head.stop)
        self._shape = head.shape

    def noise(self, rng: np.random.Generator, num_steps: int, num_rows: int) -> Floats:
        """Draw logistic noise, whose cumulative distribution is the sigmoid."""
        size = (num_steps, num_rows, self._columns.stop - self._columns.start)
        uniform = rng.random(size, np.float32)
        np.clip(uniform, 1e-7, 1 - 1e-7, out=uniform)
        return np.log(uniform) - np.log1p(-uniform)

    def sample(self, parameters_Bk: Floats, noise_B: Floats) -> NDArray[Any]:
        """Draw zeros and ones [B, *shape]."""
        return self._reshape(parameters_Bk[:, self._columns] > noise_B)

    def most_likely(self, parameters_Bk: Floats) -> NDArray[Any]:
        """Return 1 where it is more likely than 0: [B, *shape]."""
        return self._reshape(parameters_Bk[:, self._columns] > 0)

    def log_probs(self, parameters: Floats, actions: NDArray[Any]) -> Floats:
        """Sum log sigmoid(logit) where the action is 1 and log sigmoid(-logit) where it is 0."""
        logits = parameters[..., self._columns]
        actions_n = actions.reshape(logits.shape)
        signed = np.where(actions_n != 0, logits, -logits)
        total: Floats = np.logaddexp(np.float32(0), -signed).sum(-1, dtype=np.float32)
        return -total

    def _reshape(self, ones: NDArray[np.bool_]) -> NDArray[Any]:
        return ones.astype(np.int8).reshape(len(ones), *self._shape)


class Gaussian:
    """Independent normal numbers: means, then log standard deviations."""

    def __init__(self, head: ActionHead) -> None:
        """Take the columns of `head`."""
        self._size = len(head.sizes)
        self._means = slice(head.start, head.start + self._size)
        self._log_stds = slice(head.start + self._size, head.stop)
        self._shape = head.shape

    def noise(self, rng: np.random.Generator, num_steps: int, num_rows: int) -> Floats:
        """Draw standard normal noise [T, B, n]."""
        return rng.standard_normal((num_steps, num_rows, self._size), np.float32)

    def sample(self, parameters_Bk: Floats, noise_B: Floats) -> NDArray[Any]:
        """Draw mean + std * noise: [B, *shape]."""
        actions = np.exp(parameters_Bk[:, self._log_stds])
        actions *= noise_B
        actions += parameters_Bk[:, self._means]
        return actions.reshape(len(actions), *self._shape)

    def most_likely(self, parameters_Bk: Floats) -> NDArray[Any]:
        """Return the means [B, *shape]."""
        return parameters_Bk[:, self._means].reshape(len(parameters_Bk), *self._shape).copy()

    def log_probs(self, parameters: Floats, actions: NDArray[Any]) -> Floats:
        """Sum the components' normal log-densities."""
        log_stds = parameters[..., self._log_stds]
        scaled = actions.reshape(log_stds.shape) - parameters[..., self._means]
        scaled *= np.exp(-log_stds)
        log_densities = -0.5 * np.square(scaled) - log_stds
        total: Floats = log_densities.sum(-1, dtype=np.float32)
        return total - np.float32(self._size * _LOG_SQRT_2PI)


class SquashedGaussian(Gaussian):
    """The same before tanh; log-probabilities are those of the action after tanh."""

    def log_probs(self, parameters: Floats, actions: NDArray[Any]) -> Floats:
        """Subtract log(1 - tanh(a)^2), written as 2 * (log 2 - a - softplus(-2 a)), from the normal's."""
        actions_n = actions.reshape(*parameters.shape[:-1], self._size)
        softplus = np.logaddexp(np.float32(0), -2 * actions_n)
        log_slopes = 2 * (np.float32(math.log(2)) - actions_n - softplus)
        log_slope: Floats = log_slopes.sum(-1, dtype=np.float32)
        return super().log_probs(parameters, actions) - log_slope


def _gumbel(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw -log(E) with E exponential, bounded so that noise never lifts a masked logit over the others."""
    noise = rng.standard_exponential(shape, np.float32)
    np.maximum(noise, 1e-30, out=noise)
    np.log(noise, out=noise)
    return np.negative(noise, out=noise)


def _categorical_log_probs(logits: Floats, actions: NDArray[Any]) -> Floats:
    # Values first: reducing over a long axis of few values at a time is 20 times slower.
    scores = np.moveaxis(logits, -1, 0).copy()
    scores -= scores.max(0)
    chosen = np.take_along_axis(scores, actions[None], 0)[0]
    np.exp(scores, out=scores)
    log_probs: Floats = chosen - np.log(scores.sum(0))
    return log_probs


def action_dtype(head: ActionHead) -> type[np.generic]:
    """Return how actions of a head are kept, in the policy's units."""
    match head.kind:
        case "categorical":
            return np.int64
        case "bernoulli":
            return np.int8
        case "gaussian" | "squashed_gaussian":
            return np.float32
