"""Refuses settings out of range."""

import math


def check_number(
    name: str,
    value: float,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float = math.inf,
    whole: bool = False,
) -> None:
    """Raise ValueError unless `value` is finite and at least `low`, above `above`, at most `high`."""
    kind = int if whole else (int, float)
    fits = isinstance(value, kind) and not isinstance(value, bool) and value <= high and math.isfinite(value)
    if fits and (low is None or value >= low) and (above is None or value > above):
        return
    noun = "a whole number" if whole else "a finite number"
    limit = f"from {low}" if above is None else f"above {above}"
    limit += "" if high == math.inf else f" to {high}"
    raise ValueError(f"{name} is {value!r}; give {noun} {limit}")
