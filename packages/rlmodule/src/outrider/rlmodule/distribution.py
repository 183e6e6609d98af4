"""Action distributions on torch, for the layout that `outrider.wire.ActionHead` describes.

Axes: ... any leading axes, alike in all arguments; k action parameters; n components of a head.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from outrider.wire import ActionHead

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
LOG_TWO = math.log(2.0)


class Distribution:
    """The joint distribution of all heads, which are independent of each other."""

    def __init__(self, heads: tuple[ActionHead, ...]) -> None:
        """Choose each head's formulas once."""
        self.heads = heads
        self._parts: tuple[tuple[ActionHead, _Head], ...] = tuple((head, _head(head)) for head in heads)
        self._only = self._parts[0][1] if len(heads) == 1 else None

    def log_prob(self, parameters: Tensor, actions: Mapping[str, Tensor]) -> Tensor:
        """Return the log-probability [...] of actions {path: [..., shape]} in policy units.

        For a squashed Gaussian it is the log-density of tanh(action), the Jacobian included.
        """
        return self.log_prob_and_entropy(parameters, actions)[0]

    def entropy(self, parameters: Tensor) -> Tensor:
        """Return the entropy [...]; for a squashed Gaussian, that of the Gaussian before tanh."""
        if self._only is not None:
            return self._only.entropy(parameters)
        return _total([part.entropy(_columns(parameters, head)) for head, part in self._parts])

    def log_prob_and_entropy(
        self, parameters: Tensor, actions: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return both at less than the cost of each alone."""
        if self._only is not None:
            return self._only.log_prob_and_entropy(parameters, actions[self.heads[0].path])
        pairs = [
            part.log_prob_and_entropy(_columns(parameters, head), actions[head.path])
            for head, part in self._parts
        ]
        return _total([pair[0] for pair in pairs]), _total([pair[1] for pair in pairs])

    def kl(self, parameters_old: Tensor, parameters_new: Tensor) -> Tensor:
        """Return the divergence KL(old || new) [...], in closed form."""
        if self._only is not None:
            return self._only.kl(parameters_old, parameters_new)
        return _total(
            [
                part.kl(_columns(parameters_old, head), _columns(parameters_new, head))
                for head, part in self._parts
            ]
        )


class _Head(Protocol):
    def entropy(self, parameters: Tensor) -> Tensor: ...
    def log_prob_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]: ...
    def kl(self, old: Tensor, new: Tensor) -> Tensor: ...


def _head(head: ActionHead) -> _Head:
    match head.kind:
        case "categorical" if len(head.sizes) == 1:
            return _Categorical(head)
        case "categorical":
            return _Categoricals(head)
        case "bernoulli":
            return _Bernoulli(head)
        case "gaussian":
            return _Gaussian(head)
        case "squashed_gaussian":
            return _SquashedGaussian(head)


def _columns(parameters: Tensor, head: ActionHead) -> Tensor:
    return parameters[..., head.start : head.stop]


def _total(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


class _Categorical:
    """One choice among n logits."""

    def __init__(self, head: ActionHead) -> None:
        self._has_axes = head.shape != ()

    def entropy(self, parameters: Tensor) -> Tensor:
        log_probs = functional.log_softmax(parameters, -1)
        return -(log_probs.exp() * log_probs).sum(-1)

    def log_prob_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = functional.log_softmax(parameters, -1)
        if self._has_axes:
            actions = actions.reshape(parameters.shape[:-1])
        log_prob = log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return log_prob, -(log_probs.exp() * log_probs).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        log_old, log_new = functional.log_softmax(old, -1), functional.log_softmax(new, -1)
        return (log_old.exp() * (log_old - log_new)).sum(-1)


class _Categoricals:
    """Several independent choices, their logits one after the other."""

    def __init__(self, head: ActionHead) -> None:
        self._sizes = list(head.sizes)
        self._are_alike = len(set(head.sizes)) == 1

    def entropy(self, parameters: Tensor) -> Tensor:
        return -_total([self._sum(p.exp() * p) for p in self._log_probs(parameters)])

    def log_prob_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = self._log_probs(parameters)
        actions = actions.reshape(*parameters.shape[:-1], len(self._sizes))
        if self._are_alike:
            log_prob = log_probs[0].gather(-1, actions.unsqueeze(-1)).squeeze(-1).sum(-1)
        else:
            chosen = [p.gather(-1, actions[..., i : i + 1]) for i, p in enumerate(log_probs)]
            log_prob = _total(chosen).squeeze(-1)
        return log_prob, -_total([self._sum(p.exp() * p) for p in log_probs])

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        pairs = zip(self._log_probs(old), self._log_probs(new), strict=True)
        return _total([self._sum(p.exp() * (p - q)) for p, q in pairs])

    def _log_probs(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor [..., size] for each component, or one [..., components, size] for all."""
        if self._are_alike:
            alike = parameters.reshape(*parameters.shape[:-1], len(self._sizes), self._sizes[0])
            return (functional.log_softmax(alike, -1),)
        parts = torch.split(parameters, self._sizes, -1)
        return tuple(functional.log_softmax(part, -1) for part in parts)

    def _sum(self, terms: Tensor) -> Tensor:
        return terms.sum((-2, -1)) if self._are_alike else terms.sum(-1)


class _Bernoulli:
    """n independent yes-or-no choices; sigmoid(logit) is the probability of 1."""

    def __init__(self, head: ActionHead) -> None:
        self._size = len(head.sizes)

    def entropy(self, parameters: Tensor) -> Tensor:
        return (functional.softplus(parameters) - parameters * parameters.sigmoid()).sum(-1)

    def log_prob_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        actions = actions.reshape(parameters.shape).to(parameters.dtype)
        softplus = functional.softplus(parameters)
        log_prob = (actions * parameters - softplus).sum(-1)
        return log_prob, (softplus - parameters * parameters.sigmoid()).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        return (old.sigmoid() * (old - new) - functional.softplus(old) + functional.softplus(new)).sum(-1)


class _Gaussian:
    """n independent normal numbers; parameters are the means, then the log standard deviations."""

    def __init__(self, head: ActionHead) -> None:
        self._size = len(head.sizes)
        self._needs_reshape = len(head.shape) != 1
        self._log_prob_constant = -self._size * HALF_LOG_TWO_PI
        self._entropy_constant = self._size * (0.5 + HALF_LOG_TWO_PI)

    def entropy(self, parameters: Tensor) -> Tensor:
        return parameters[..., self._size :].sum(-1) + self._entropy_constant

    def log_prob_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = parameters.chunk(2, -1)
        z = (self._flat(actions, mean) - mean) * (-log_std).exp()
        sum_log_std = log_std.sum(-1)
        log_prob = self._log_prob_constant - sum_log_std - 0.5 * (z * z).sum(-1)
        return log_prob, sum_log_std + self._entropy_constant

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        mean_old, log_std_old = old.chunk(2, -1)
        mean_new, log_std_new = new.chunk(2, -1)
        ratio = (2.0 * (log_std_old - log_std_new)).exp()
        distance = ((mean_old - mean_new) * (-log_std_new).exp()).square()
        return (0.5 * (ratio + distance - 1.0) + log_std_new - log_std_old).sum(-1)

    def _flat(self, actions: Tensor, mean: Tensor) -> Tensor:
        return actions.reshape(mean.shape) if self._needs_reshape else actions


class _SquashedGaussian(_Gaussian):
    """tanh of normal numbers, spoken of by the number before tanh.

    log p(tanh a) = log N(a) - sum log(1 - tanh(a)^2), and
    log(1 - tanh(a)^2) = 2 * (log 2 - a - softplus(-2a)) without cancellation.
    """

    def log_prob_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, entropy = super().log_prob_and_entropy(parameters, actions)
        a = self._flat(actions, parameters[..., : self._size])
        return log_prob - 2.0 * (LOG_TWO - a - functional.softplus(-2.0 * a)).sum(-1), entropy
