"""A run: iterations until a limit is reached, with evaluations, checkpoints and callbacks between them."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outrider.algorithm.run.callback import Callback
from outrider.algorithm.run.interruption import Interruption
from outrider.algorithm.settings.stopping import NUM_LOOK_EPISODES, StopRule
from outrider.envrunner import WaitInterruptedError
from outrider.envrunner.policies.weights_loading import LostWeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from signal import Signals

    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.saved.run_directory import RunDirectory

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended."""

    reason: str
    interrupted_by: Signals | None
    checkpoint: Path
    evaluation: Mapping[str, Any] | None
    """Metrics of an evaluation of the last weights; None where the run was interrupted."""


class TrainingRun:
    """Trains one algorithm until it should stop, and leaves a directory of results behind."""

    def __init__(
        self, algorithm: Algorithm, directory: RunDirectory, *, callbacks: Sequence[Callback] = ()
    ) -> None:
        """`callbacks` are called in order, after the progress was written.

        Raises ValueError for one that lacks a method, which the run would else miss when it is over.
        """
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ValueError(
                    f"callback {callback!r} lacks one of the methods on_train_result, on_checkpoint and "
                    "on_stop; write all three, empty where there is nothing to do"
                )
        self._algorithm = algorithm
        self._directory = directory
        self._callbacks = callbacks
        self._interruption = Interruption(algorithm.interrupt)
        self._stop = StopRule(algorithm.settings.stopping, reward_threshold=algorithm.reward_threshold)
        self._checkpointed_at = time.monotonic()
        self._evaluation: Mapping[str, Any] | None = None

    def run(self) -> Outcome:
        """Run to the end, at least one iteration.

        Ctrl-C or SIGTERM ends it after the iteration at hand, or at once where that waits for runners to
        join; twice, at once and without a checkpoint, by KeyboardInterrupt.
        """
        with self._interruption.listening():
            reason = None
            while reason is None:
                try:
                    result = self._iterate()
                except WaitInterruptedError:
                    reason = self._interrupted()
                    break
                reason = self._interrupted() or self._stop.reason(result)
                if reason is None:
                    self._checkpoint_if_due()
            assert reason is not None, "only a signal interrupts"
            checkpoint = self._checkpoint()
            for callback in self._callbacks:
                callback.on_stop(self._algorithm, reason)
            return Outcome(
                reason=reason,
                interrupted_by=self._interruption.signal,
                checkpoint=checkpoint,
                evaluation=None if self._interruption.signal else self._evaluation,
            )

    def _iterate(self) -> dict[str, Any]:
        result = self._algorithm.train()
        self._evaluation = None
        if not self._interruption.signal and self._wants_evaluation(result):
            self._evaluation = self._evaluate()
            result |= {f"evaluation/{name}": value for name, value in (self._evaluation or {}).items()}
        self._directory.append_progress(result)
        for callback in self._callbacks:
            callback.on_train_result(self._algorithm, result)
        return result

    def _wants_evaluation(self, result: Mapping[str, Any]) -> bool:
        if self._algorithm.settings.environment.env is None:
            return False  # only farms have one
        interval = self._algorithm.settings.evaluation.evaluation_interval
        is_due = interval > 0 and result["iteration"] % interval == 0
        is_last = self._stop.reason(result) is not None
        return is_due or is_last or self._looks_good(result)

    def _looks_good(self, result: Mapping[str, Any]) -> bool:
        if not self._stop.wants_look(result):
            return False
        duration = self._algorithm.settings.evaluation.evaluation_duration
        look = self._evaluate(min(NUM_LOOK_EPISODES, duration))
        return look is not None and self._stop.worth_evaluating(result, look)

    def _evaluate(self, num_episodes: int | None = None) -> dict[str, Any] | None:
        """Return metrics, or None: an evaluation need not be finished where Ctrl-C or SIGTERM comes.

        Nor where the newest weights went with their node; learners then go back, and have others.
        """
        try:
            with suppress(KeyboardInterrupt), self._interruption.at_once():
                return self._algorithm.evaluate(num_episodes)
        except LostWeightsError as error:
            _LOGGER.warning("an evaluation is left out: %s", error)
        return None

    def _checkpoint_if_due(self) -> None:
        interval_s = self._algorithm.settings.checkpointing.checkpoint_interval_s
        if time.monotonic() - self._checkpointed_at >= interval_s:
            self._checkpoint()

    def _checkpoint(self) -> Path:
        settings = self._algorithm.settings.checkpointing
        path = self._algorithm.save(self._directory.checkpoint_path(self._algorithm.iteration))
        self._directory.keep_newest_checkpoints(settings.num_checkpoints_to_keep)
        self._checkpointed_at = time.monotonic()
        for callback in self._callbacks:
            callback.on_checkpoint(self._algorithm, path)
        return path

    def _interrupted(self) -> str | None:
        if self._interruption.signal is None:
            return None
        return f"interrupted by {self._interruption.signal.name}"
