"""Returns as people read them."""


def figure(value: float) -> str:
    """Write a return with a decimal, or with three digits where one decimal says nothing.

    >>> figure(489.71), figure(0.61349), figure(0.0)
    ('489.7', '0.613', '0')
    """
    return f"{value:.1f}" if abs(value) >= 10 else f"{value + 0.0:.3g}"
