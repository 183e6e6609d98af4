"""Gradient steps whose loss or gradient is not finite: counted, and stopped when they do not end."""

import math

from torch import Tensor

from outrider.learner.learner import StateTree
from outrider.learner.metrics import STEP_STATISTICS


class TrainingDivergedError(RuntimeError):
    """Too many gradient steps in a row had a loss or gradient that was not finite."""


class SkippedSteps:
    """Counts the steps that were skipped."""

    def __init__(self, max_consecutive: int) -> None:
        self.max_consecutive = max_consecutive
        self.total = 0
        self.consecutive = 0
        self.first_bad = ""

    def count(self, statistics: Tensor, *, update: int, first_step: int) -> int:
        """Count the skipped steps among `statistics` [steps, len(STEP_STATISTICS)], on the CPU.

        Raises TrainingDivergedError when the run of them exceeds its limit.
        """
        num_skipped = 0
        finite = statistics.isfinite().all(1).tolist()
        for index, is_finite in enumerate(finite):
            if is_finite:
                self.consecutive = 0
                continue
            num_skipped += 1
            self.consecutive += 1
            if self.consecutive == 1:
                self.first_bad = _first_bad(statistics[index], update=update, step=first_step + index)
            if self.consecutive > self.max_consecutive:
                raise TrainingDivergedError(
                    f"{self.first_bad}, and no step of the {self.consecutive} since then was finite; lower lr, "
                    "set grad_clip, or normalise observations and rewards"
                )
        self.total += num_skipped
        return num_skipped

    def get_state(self) -> StateTree:
        return {"total": self.total, "consecutive": self.consecutive, "first_bad": self.first_bad}

    def set_state(self, state: StateTree) -> None:
        self.total = int(state["total"])
        self.consecutive = int(state["consecutive"])
        self.first_bad = str(state["first_bad"])


def _first_bad(statistics: Tensor, *, update: int, step: int) -> str:
    for name, value in zip(STEP_STATISTICS, statistics.tolist(), strict=True):
        if not math.isfinite(value):
            return f"{name.replace('_', ' ')} became {value} at update {update}, gradient step {step}"
    raise AssertionError("a skipped step has a statistic that is not finite")
