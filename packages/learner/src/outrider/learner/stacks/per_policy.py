"""Settings that may differ between stacked policies, as numbers for each. Axes: P policies, K knots."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from outrider.learner.training.algorithm_settings import AlgorithmSettings
from outrider.learner.training.impala_settings import IMPALASettings

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
        # Most have nothing of their own: what all have in common is copied, not asked for 10,000 times.
        own = {
            place: own_settings(common, number, overrides[number])
            for place, number in enumerate(numbers)
            if overrides.get(number)
        }
        self._numbers = {name: _column(name, common, own, len(numbers)) for name in NUMBERS}
        self._knots = {name: _knots(name, common, own, len(numbers)) for name in SCHEDULES}

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


Own = Mapping[int, AlgorithmSettings]
"""By place, the settings of those policies that have some of their own."""


def _column(name: str, common: AlgorithmSettings, own: Own, num_policies: int) -> NDArray[np.float64]:
    """Return a number for each policy [P]."""
    column_P = np.full(num_policies, _number(common, name), np.float64)
    for place, settings in own.items():
        column_P[place] = _number(settings, name)
    return column_P


def _number(settings: AlgorithmSettings, name: str) -> float:
    value = getattr(settings, name, 0.0)
    return math.inf if value is None else float(value)


def _knots(
    name: str, common: AlgorithmSettings, own: Own, num_policies: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when [P, K] each schedule has which value [P, K]; the last knot is repeated."""
    of_common = _points(common, name)
    of_own = {place: _points(settings, name) for place, settings in own.items()}
    most = max(map(len, (of_common, *of_own.values())))
    both_PK2 = np.empty((num_policies, most, 2))
    both_PK2[:] = _repeated(of_common, most)
    for place, points in of_own.items():
        both_PK2[place] = _repeated(points, most)
    return both_PK2[..., 0], both_PK2[..., 1]


def _points(settings: AlgorithmSettings, name: str) -> list[Any]:
    schedule = getattr(settings, name, 0.0)
    return [(0.0, schedule)] if isinstance(schedule, int | float) else list(schedule)


def _repeated(points: list[Any], num_points: int) -> list[Any]:
    return [*points, *[points[-1]] * (num_points - len(points))]


def _value_at(
    when_PK: NDArray[np.float64], value_PK: NDArray[np.float64], num_env_steps_P: NDArray[np.int64]
) -> NDArray[np.float64]:
    """See `outrider.learner.training.schedule.value_at`."""
    last = when_PK.shape[1] - 1
    place_P = np.arange(len(when_PK))
    after_P = np.minimum((when_PK <= num_env_steps_P[:, None]).sum(1), last)
    before_P = np.maximum(after_P - 1, 0)
    start_P, span_P = when_PK[place_P, before_P], when_PK[place_P, after_P] - when_PK[place_P, before_P]
    share_P = np.divide(num_env_steps_P - start_P, span_P, out=np.ones_like(span_P), where=span_P > 0)
    from_P, to_P = value_PK[place_P, before_P], value_PK[place_P, after_P]
    value_P: NDArray[np.float64] = from_P + np.clip(share_P, 0.0, 1.0) * (to_P - from_P)
    return value_P
