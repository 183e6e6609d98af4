"""Settings that may differ between stacked policies, as numbers for each. Axes: P policies, K knots."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from outrider.learner.algorithms import AlgorithmSettings
from outrider.learner.impala_settings import IMPALASettings

SCHEDULES = ("lr", "clip_param", "entropy_coeff")
NUMBERS = ("gamma", "lambda_", "vf_loss_coeff", "grad_clip", "kl_coeff", "kl_target")
MAY_DIFFER = (*SCHEDULES, *NUMBERS)


class PolicyNumbers(NamedTuple):
    """Settings in force at an update, [P] each."""

    lr: NDArray[np.float64]
    clip_param: NDArray[np.float64]
    entropy_coeff: NDArray[np.float64]
    gamma: NDArray[np.float64]
    lambda_: NDArray[np.float64]
    vf_loss_coeff: NDArray[np.float64]
    grad_clip: NDArray[np.float64]
    """inf: unlimited."""
    kl_target: NDArray[np.float64]

    def take(self, place_B: NDArray[np.int64]) -> "PolicyNumbers":
        return PolicyNumbers(*(number_P[place_B] for number_P in self))


class PolicySettings:
    """What each policy trains with: what all have in common, and what is its own.

    What an algorithm has no setting for is 0.
    """

    def __init__(
        self, common: AlgorithmSettings, numbers: Sequence[int], overrides: Mapping[int, Mapping[str, Any]]
    ) -> None:
        """Raise ValueError for values out of range, and for settings that must be alike in a stack."""
        self.common = common
        own = [own_settings(common, number, overrides.get(number, {})) for number in numbers]
        known = {field.name for field in fields(common)}
        self._numbers = {
            name: np.array([_number(s, name) if name in known else 0.0 for s in own], np.float64)
            for name in NUMBERS
        }
        self._knots = {
            name: _knots([getattr(s, name) if name in known else 0.0 for s in own]) for name in SCHEDULES
        }

    def first_kl_coeff(self) -> NDArray[np.float64]:
        """Return the coefficients that policies begin with."""
        if isinstance(self.common, IMPALASettings):
            return np.zeros_like(self._numbers["kl_coeff"])
        return self._numbers["kl_coeff"] * self.common.use_kl_loss

    def at(self, num_env_steps_P: NDArray[np.int64]) -> PolicyNumbers:
        """Return what is in force after that many environment steps of each policy's own."""
        values = {name: self._numbers[name] for name in NUMBERS if name != "kl_coeff"}
        return PolicyNumbers(
            **values, **{name: _value_at(*self._knots[name], num_env_steps_P) for name in SCHEDULES}
        )


def own_settings(common: AlgorithmSettings, number: int, own: Mapping[str, Any]) -> AlgorithmSettings:
    """Return the settings of policy `number`; raises ValueError where they cannot be its own."""
    known = {field.name for field in fields(common)}
    may_differ = [name for name in MAY_DIFFER if name in known]
    alike = sorted(set(own) - set(may_differ))
    if alike:
        raise ValueError(
            f"policy {number} sets {', '.join(alike)} for itself, which must be alike in a stack; "
            f"it may set {', '.join(may_differ)}, or be given a stack of its own"
        )
    return replace(common, **own) if own else common


def _number(settings: AlgorithmSettings, name: str) -> float:
    value = getattr(settings, name)
    return math.inf if value is None else float(value)


def _knots(schedules: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when [P, K] each schedule has which value [P, K]; the last knot is repeated."""
    points = [[(0.0, s)] if isinstance(s, int | float) else s for s in schedules]
    most = max(map(len, points), default=1)
    both = np.array([[*p, *[p[-1]] * (most - len(p))] for p in points], np.float64).reshape(-1, most, 2)
    return both[..., 0], both[..., 1]


def _value_at(
    when_PK: NDArray[np.float64], value_PK: NDArray[np.float64], num_env_steps_P: NDArray[np.int64]
) -> NDArray[np.float64]:
    """See `outrider.learner.schedule.value_at`."""
    last = when_PK.shape[1] - 1
    place_P = np.arange(len(when_PK))
    after_P = np.minimum((when_PK <= num_env_steps_P[:, None]).sum(1), last)
    before_P = np.maximum(after_P - 1, 0)
    start_P, span_P = when_PK[place_P, before_P], when_PK[place_P, after_P] - when_PK[place_P, before_P]
    share_P = np.divide(num_env_steps_P - start_P, span_P, out=np.ones_like(span_P), where=span_P > 0)
    from_P, to_P = value_PK[place_P, before_P], value_PK[place_P, after_P]
    value_P: NDArray[np.float64] = from_P + np.clip(share_P, 0.0, 1.0) * (to_P - from_P)
    return value_P
