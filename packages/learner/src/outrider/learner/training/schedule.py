"""Settings that change while training goes on."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

Schedule: TypeAlias = float | Sequence[Sequence[float]]
"""A constant, or [[environment steps, value], ...] joined by straight lines, the last value held for ever."""


def value_at(schedule: Schedule, num_env_steps: int) -> float:
    """Return the value in force after `num_env_steps` environment steps.

    >>> value_at([[0, 1.0], [100, 0.0]], 25)
    0.75
    """
    if isinstance(schedule, int | float):
        return float(schedule)
    before = schedule[0]
    for after in schedule:
        if num_env_steps < after[0]:
            share = (num_env_steps - before[0]) / (after[0] - before[0])
            return float(before[1] + share * (after[1] - before[1]))
        before = after
    return float(before[1])


def check_schedule(name: str, schedule: Schedule, *, low: float, high: float = math.inf) -> None:
    """Raise ValueError unless `schedule` is well-formed and each value lies in [low, high]."""
    if isinstance(schedule, int | float):
        values = [float(schedule)]
    else:
        points = list(schedule)
        if not points or any(isinstance(p, int | float) or len(p) != 2 for p in points):
            raise ValueError(
                f"{name} is {schedule!r}; give a number, or pairs of environment steps and value such as "
                "[[0, 3e-4], [1000000, 0.0]]"
            )
        steps = [float(p[0]) for p in points]
        if steps[0] != 0 or any(b <= a for a, b in pairwise(steps)):
            raise ValueError(
                f"{name} has its points at environment steps {steps}; start at 0 and let each be later than "
                "the one before"
            )
        values = [float(p[1]) for p in points]
    for value in values:
        if not low <= value <= high or math.isinf(value):
            limit = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
            raise ValueError(f"{name} is {value!r}; give a finite number {limit}")
