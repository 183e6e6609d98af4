"""Metrics of many policies as those of one learner. Axes: P policies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.learner.stacks.stack_metrics import SUMS


def over_policies(metrics: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Return one metric for each name: counts are added up, means are weighed by rows and leave nan out.

    >>> over_policies({"num_env_steps_trained": np.array([3.0, 1.0]), "x": np.array([1.0, 5.0])})
    {'num_env_steps_trained': 4.0, 'x': 2.0}
    """
    weight_P = np.nan_to_num(metrics["num_env_steps_trained"])
    return {name: _over_policies(name, column, weight_P) for name, column in metrics.items()}


def _over_policies(name: str, column: NDArray[Any], weight_P: NDArray[np.float64]) -> float:
    if name in SUMS:
        return float(np.nansum(column))
    is_known_P = np.isfinite(column) & (weight_P > 0)
    if not is_known_P.any():
        return float("nan")
    return float(np.average(column[is_known_P], weights=weight_P[is_known_P]))
