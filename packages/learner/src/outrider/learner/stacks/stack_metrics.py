"""Metrics of several stacks as those of one learner. Axes: P policies of all stacks. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUMS = ("num_env_steps_trained", "num_steps", "skipped_steps", "diverged_policies")
"""What is added up, as are seconds; all else is averaged over rows."""


def over_stacks(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return one metric for each name: means are weighed by rows and leave nan out.

    >>> over_stacks([{"num_env_steps_trained": 30.0, "x": 1.0}, {"num_env_steps_trained": 10.0, "x": 5.0}])
    {'num_env_steps_trained': 40.0, 'x': 2.0}
    """
    names = dict.fromkeys(name for each in metrics for name in each)
    return {name: _over_stacks(name, [each for each in metrics if name in each]) for name in names}


def _over_stacks(name: str, metrics: Sequence[Mapping[str, float]]) -> float:
    if name in SUMS or name.endswith("_s"):
        return math.fsum(each[name] for each in metrics)
    known = [each for each in metrics if not math.isnan(each[name])]
    num_rows = math.fsum(each["num_env_steps_trained"] for each in known)
    if not num_rows:
        return math.nan
    return math.fsum(each[name] * each["num_env_steps_trained"] for each in known) / num_rows


def by_policy(
    numbers: Sequence[NDArray[np.int32]], metrics: Sequence[Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Return [P] for each name, policies ascending; nan where a stack has no such metric.

    `numbers` and `metrics` are those of each stack, the numbers of a stack in the order of its metrics.
    """
    order = np.argsort(np.concatenate([*numbers, np.zeros(0, np.int32)]))
    names = dict.fromkeys(name for each in metrics for name in each)
    columns = {}
    for name in names:
        parts = [
            each.get(name, np.full(len(part), np.nan)) for part, each in zip(numbers, metrics, strict=True)
        ]
        columns[name] = np.concatenate(parts)[order]
    return columns
