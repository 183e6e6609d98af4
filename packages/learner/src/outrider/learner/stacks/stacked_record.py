"""Takes down what the gradient steps of a block measure. Axes: B policies, K statistics."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.metrics import STEP_STATISTICS
from outrider.learner.training.non_finite import first_bad

_LOGGER = logging.getLogger("outrider.learner")
_KL = STEP_STATISTICS.index("mean_kl")


class StackedRecord:
    """The steps of the policies of a block in one update."""

    def __init__(
        self,
        num_policies: int,
        skipped_in_a_row_B: NDArray[np.int64],
        numbers: NDArray[np.int32],
        limit: int,
        cause: str | None = None,
    ) -> None:
        """Steps in a row were skipped before; a policy of which more than `limit` are has diverged.

        `cause` says what was bad in the rows, and the cure; None where nothing was. Then the log says which
        policy's steps begin to be skipped, one in an update.
        """
        self._numbers, self._limit, self._cause = numbers, limit, cause
        self._is_said = cause is not None
        self.skipped_in_a_row_B = skipped_in_a_row_B.copy()
        self.num_taken_B = np.zeros(num_policies, np.int64)
        """Steps that were taken."""
        self.mean_kl_B = np.full(num_policies, np.nan)
        """Over the last epoch that a policy trained in."""
        self.diverged: dict[int, str] = {}
        """Numbers of the policies that have diverged, and what was bad."""
        self._num_skipped_B = np.zeros(num_policies, np.int64)
        self._num_epochs_B = np.zeros(num_policies, np.int64)
        self._sum_BK = np.zeros((num_policies, len(STEP_STATISTICS)))
        self._num_rows_B = np.zeros(num_policies)
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, statistics_KB: Tensor, is_finite_B: Tensor, num_rows_B: Tensor) -> None:
        """Take down a step of the first policies, without waiting for it; one without rows took none."""
        self._steps.append((statistics_KB, is_finite_B, num_rows_B))

    def end_epoch(self, is_training_B: NDArray[np.bool_]) -> None:
        """Wait for the steps since the epoch before, in which only some policies took part."""
        sum_BK, num_rows_B = np.zeros_like(self._sum_BK), np.zeros_like(self._num_rows_B)
        for statistics_KB, is_finite, num_rows in self._steps:
            first = len(is_finite)
            training_B = is_training_B[:first] & (num_rows.cpu().numpy() > 0)
            finite_B = is_finite.cpu().numpy() & training_B
            bad_B = training_B & ~finite_B
            statistics_BK = statistics_KB.t().cpu().numpy()
            weight_B = num_rows.cpu().numpy() * finite_B
            sum_BK[:first] += np.where(finite_B[:, None], statistics_BK, 0.0) * weight_B[:, None]
            num_rows_B[:first] += weight_B
            self.num_taken_B[:first] += finite_B
            self._num_skipped_B[:first] += bad_B
            in_a_row_B = self.skipped_in_a_row_B[:first]
            in_a_row_B[bad_B] += 1
            in_a_row_B[finite_B] = 0
            if bad_B.any():
                self._check(bad_B, in_a_row_B, statistics_BK)
        self._steps = []
        self._num_epochs_B += is_training_B
        self._sum_BK += sum_BK
        self._num_rows_B += num_rows_B
        with np.errstate(invalid="ignore"):
            self.mean_kl_B = np.where(is_training_B, sum_BK[:, _KL] / num_rows_B, self.mean_kl_B)

    def metrics(self) -> dict[str, NDArray[Any]]:
        """Return means over the rows of all steps of each policy, and counts [B]."""
        with np.errstate(invalid="ignore"):
            mean_KB = (self._sum_BK / self._num_rows_B[:, None]).T
        means = dict(zip(STEP_STATISTICS, mean_KB, strict=True))
        del means["total_loss"]
        return means | {
            "num_epochs": self._num_epochs_B.astype(np.float64),
            "num_steps": (self.num_taken_B + self._num_skipped_B).astype(np.float64),
            "skipped_steps": self._num_skipped_B.astype(np.float64),
        }

    def _check(
        self, bad_B: NDArray[np.bool_], in_a_row_B: NDArray[np.int64], statistics_BK: NDArray[np.float32]
    ) -> None:
        (new,) = (bad_B & (in_a_row_B == 1)).nonzero()
        if len(new) and not self._is_said:
            self._is_said = True
            _LOGGER.warning(
                "gradient steps of policy number %d are skipped because %s",
                self._numbers[new[0]],
                first_bad(statistics_BK[new[0]].tolist()),
            )
        for place in (bad_B & (in_a_row_B > self._limit)).nonzero()[0]:
            self.diverged[int(self._numbers[place])] = (
                f"{in_a_row_B[place]:,} gradient steps in a row were skipped; in the last, "
                f"{self._cause or first_bad(statistics_BK[place].tolist())}"
            )
