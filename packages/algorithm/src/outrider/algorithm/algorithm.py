"""The main loop: collect, learn, publish."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from outrider.algorithm.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from outrider.algorithm.iteration import Iteration, LearnerWork
from outrider.algorithm.setting_value import FunctionNotFoundError, to_json
from outrider.algorithm.totals import Totals

if TYPE_CHECKING:
    from outrider.algorithm.evaluation import Evaluator
    from outrider.algorithm.ppo import PPOConfig
    from outrider.algorithm.run_settings import RunSettings
    from outrider.envrunner import RunnerPool
    from outrider.envrunner.video import FilmedEpisode
    from outrider.learner import LearnerGroup
    from outrider.rlmodule import Policy


class Algorithm:
    """Trains one policy. Made by `config.build()`; close it with `stop()` or by leaving a `with` block."""

    def __init__(
        self,
        name: str,
        settings: RunSettings,
        *,
        runners: RunnerPool,
        learners: LearnerGroup,
        policy: Policy,
        evaluator: Evaluator,
        reward_threshold: float | None = None,
    ) -> None:
        """Take the parts over; `policy` has the weights of the learners."""
        self.name = name
        self.settings = settings
        self.reward_threshold = reward_threshold
        """Mean return from which the environment counts as solved; None where it is registered without."""
        self._runners = runners
        self._learners = learners
        self.policy = policy
        """The module that learns, on the learner's device: an `outrider.rlmodule.Policy`."""
        self._evaluator = evaluator
        self._weights = learners.publish()
        self._totals = Totals()

    def train(self) -> dict[str, Any]:
        """Run one iteration and return its metrics (see `outrider.algorithm.totals`)."""
        started = time.perf_counter()
        fragments = self._runners.sample(self._weights)
        sampled = time.perf_counter()
        metrics = self._learners.update(fragments)
        self._weights = self._learners.publish()
        ended = time.perf_counter()
        return self._totals.add(
            Iteration(
                summaries=[fragment.summary for fragment in fragments],
                metrics=metrics,
                learners=LearnerWork(work_s=ended - sampled, wait_s=sampled - started),
                runners=self._runners.statistics(),
                total_s=ended - started,
            )
        )

    def evaluate(self, num_episodes: int | None = None, *, seed: int | None = None) -> dict[str, Any]:
        """Play episodes from fixed seeds on, without exploration, and return their metrics.

        What is not given stands in the evaluation settings. Training is not touched: neither its
        environments nor its random numbers.
        """
        settings = self.settings.evaluation
        return self._evaluator.evaluate(
            self._weights.load(),
            num_episodes=settings.evaluation_duration if num_episodes is None else num_episodes,
            seed=settings.evaluation_seed if seed is None else seed,
        )

    def record_video(self, path: Path | str, *, seed: int | None = None) -> FilmedEpisode:
        """Film the first episode of `evaluate` as an .mp4 file, and say where it is and how it went."""
        seed = self.settings.evaluation.evaluation_seed if seed is None else seed
        return self._evaluator.record_video(self._weights.load(), Path(path), seed=seed)

    @property
    def iteration(self) -> int:
        """Iterations done so far, those before a checkpoint included."""
        return self._totals.iteration

    def save(self, path: Path | str) -> Path:
        """Write a checkpoint to the directory `path`, whole or not at all, and return the path."""
        tree = {
            "algorithm": self.name,
            "settings": to_json(self.settings),
            "totals": self._totals.get_state(),
            "learner": self._learners.get_state(),
            "runners": self._runners.get_state(),
        }
        return write_checkpoint(path, tree)

    @staticmethod
    def from_checkpoint(
        path: Path | str, *, config: PPOConfig | None = None, to_train: bool = True
    ) -> Algorithm:
        """Build the algorithm that was saved at `path` and go on from there.

        `config` replaces the recorded settings: give it where the environment or a wrapper was a
        function of no module, or to go on with other settings. Without `to_train` the environments are
        left as they are, which is all that evaluating and exporting need. Raises CheckpointError.
        """
        tree = read_checkpoint(path)
        algorithm = (config or _recorded_config(tree, path)).build()
        algorithm._restore(tree, path, to_train=to_train)  # noqa: SLF001 - our own
        return algorithm

    def _restore(self, tree: Any, path: Path | str, *, to_train: bool = True) -> None:  # noqa: ANN401 - a tree
        try:
            self._learners.set_state(tree["learner"])
            if to_train:
                self._runners.set_state(tree["runners"])
            self._totals.set_state(tree["totals"])
        except (KeyError, TypeError, ValueError) as error:
            self.stop()
            raise CheckpointError(
                f"checkpoint {path} does not fit these settings: {error}; use the settings it was made with"
            ) from error
        self._weights = self._learners.publish()

    def export_policy(self, path: Path | str) -> Path:
        """Write the policy as one ONNX file that needs nothing of Outrider, and return the path.

        Inputs are the observation's leaves; outputs are `action_parameters` and the most likely action
        in the environment's units.
        """
        from outrider.algorithm.whole_file import write_whole
        from outrider.rlmodule import export_standalone

        path = Path(path)
        write_whole(path, export_standalone(self.policy))
        return path

    def stop(self) -> None:
        """Close the environments and stop the learners. May be called twice."""
        self._runners.close()
        self._learners.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _recorded_config(tree: Any, path: Path | str) -> PPOConfig:  # noqa: ANN401 - a tree of any shape
    from outrider.algorithm.algorithms import config_from_json

    try:
        return config_from_json(tree["algorithm"], tree["settings"])
    except FunctionNotFoundError as error:
        raise CheckpointError(
            f"checkpoint {path} was made with a function that is not here: {error}; give "
            "Algorithm.from_checkpoint the config of the run, config=..."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} has settings that cannot be read: {error}; give "
            "Algorithm.from_checkpoint the config of the run, config=..."
        ) from None
