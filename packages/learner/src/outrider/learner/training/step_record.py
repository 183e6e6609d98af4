"""Takes down what the gradient steps of an update measure."""

import torch
from torch import Tensor

from outrider.learner.metrics import mean_statistics
from outrider.learner.training.non_finite import SkippedSteps


class StepRecord:
    """The gradient steps of one update."""

    def __init__(self, skipped: SkippedSteps, *, update: int) -> None:
        self._skipped, self._update = skipped, update
        self._epochs: list[Tensor] = []
        self._steps: list[Tensor] = []
        self._num_rows: list[int] = []
        self._num_skipped = 0

    def add(self, statistics: Tensor, num_rows: int) -> None:
        """Take down a step's STEP_STATISTICS [K], without waiting for them; `num_rows` of all ranks."""
        self._steps.append(statistics)
        self._num_rows.append(num_rows)

    def end_epoch(self, cause: str | None) -> dict[str, float]:
        """Wait for the steps since the epoch before and return the means over their rows.

        `cause` names what was bad before them, if anything. Raises TrainingDivergedError where too many
        steps in a row were skipped.
        """
        epoch = torch.stack(self._steps).cpu()
        self._num_skipped += self._skipped.count(epoch, cause=cause, update=self._update)
        self._epochs.append(epoch)
        num_rows = self._num_rows[-len(self._steps) :]
        self._steps = []
        return mean_statistics(epoch, num_rows)

    def metrics(self) -> dict[str, float]:
        """Return means over the rows of all steps, and counts."""
        means = mean_statistics(torch.cat(self._epochs), self._num_rows)
        del means["total_loss"]
        return means | {
            "num_epochs": float(len(self._epochs)),
            "num_steps": float(len(self._num_rows)),
            "skipped_steps": float(self._num_skipped),
        }
