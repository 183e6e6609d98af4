"""How much a divergence counts as a loss, when it should stay near a target."""


def adapted_kl_coeff(coefficient: float, mean_kl: float, target: float) -> float:
    """Return the coefficient for the next updates: half as large again, half, or the same.

    Schulman et al. 2017 (arXiv 1707.06347), section 4, with RLlib's factors.
    """
    if mean_kl > 2.0 * target:
        return coefficient * 1.5
    if mean_kl < 0.5 * target:
        return coefficient * 0.5
    return coefficient
