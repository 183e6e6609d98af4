"""Gradient steps whose loss or gradient is not finite: counted, and stopped when they do not end."""

import logging
import math

from torch import Tensor

from outrider.learner.learner import StateTree, TrainingDivergedError
from outrider.learner.metrics import STEP_STATISTICS

_LOGGER = logging.getLogger("outrider.learner")


class SkippedSteps:
    """Counts the steps that were skipped."""

    def __init__(self, max_consecutive: int) -> None:
        self.max_consecutive = max_consecutive
        self.consecutive = 0
        self.first_bad = ""

    def count(self, statistics: Tensor, *, cause: str | None, update: int) -> int:
        """Count the skipped steps among `statistics` [steps, len(STEP_STATISTICS)], on the CPU.

        `cause` names what was bad before the first of them, and the cure; without one the log says what was
        bad in it. Raises TrainingDivergedError when the run of them exceeds its limit.
        """
        num_skipped, is_said = 0, cause is not None
        for row in statistics.tolist():
            if all(map(math.isfinite, row)):
                self.consecutive = 0
                continue
            num_skipped += 1
            self.consecutive += 1
            if self.consecutive == 1:
                self.first_bad = f"at update {update}, {cause or first_bad(row)}"
                if not is_said:
                    is_said = True
                    _LOGGER.warning("gradient steps are skipped because %s", first_bad(row))
            if self.consecutive > self.max_consecutive:
                raise TrainingDivergedError(
                    f"{self.consecutive} gradient steps in a row were skipped; first, {self.first_bad}"
                )
        return num_skipped

    def get_state(self) -> StateTree:
        return {"consecutive": self.consecutive, "first_bad": self.first_bad}

    def set_state(self, state: StateTree) -> None:
        self.consecutive = int(state["consecutive"])
        self.first_bad = str(state["first_bad"])


def first_bad(row: list[float]) -> str:
    """Name the first of the STEP_STATISTICS that is not finite, and the cure."""
    names = (name.replace("_", " ") for name in STEP_STATISTICS)
    name, value = next(pair for pair in zip(names, row, strict=True) if not math.isfinite(pair[1]))
    return f"{name} became {value}: lower lr, set grad_clip, or normalise observations and rewards"
