"""How much a divergence counts as a loss, when it should stay near a target."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def adapted_kl_coeff(
    coefficient: float | NDArray[np.float64],
    mean_kl: float | NDArray[np.float64],
    target: float | NDArray[Any],
) -> NDArray[np.float64]:
    """Return the coefficient for the next updates: half as large again, half, or the same.

    Numbers, or arrays of one for each policy. Where the divergence is not known (nan) it stays the same.
    Schulman et al. 2017 (arXiv 1707.06347), section 4, with RLlib's factors.
    """
    mean_kl = np.asarray(mean_kl, np.float64)
    factor = np.where(mean_kl > 2.0 * target, 1.5, np.where(mean_kl < 0.5 * target, 0.5, 1.0))
    return coefficient * factor
