"""Makes an algorithm a trainable of Ray Tune. Needs the extra `tune`.

    tuner = tune.Tuner(
        tune_trainable(PPOConfig().environment("CartPole-v1")),
        param_space={"training.lr": tune.loguniform(1e-4, 1e-2)},
    )

A trial reserves what its runners and learners reserve, in one placement group, and one bundle for itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ray.tune import PlacementGroupFactory, Trainable

from outrider.algorithm.algorithm import Algorithm
from outrider.algorithm.cluster.demand import CPU, GPU, demand_of
from outrider.algorithm.parameters import with_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.algorithm.config import AlgorithmConfig
    from outrider.algorithm.settings.run_settings import RunSettings

CHECKPOINT = "algorithm"
"""Directory of our checkpoint within Tune's."""


def tune_trainable(config: AlgorithmConfig[Any]) -> type[AlgorithmTrainable]:
    """Return a trainable whose trials train `config`, with their own parameters in it.

    Parameters are named with their section: `{"training.lr": ...}` or `{"training": {"lr": ...}}`. What a
    trial reports are the metrics of `outrider.algorithm.loops.totals`.
    """
    return type(
        f"{config.settings_class.algorithm.upper()}Trainable", (AlgorithmTrainable,), {"base": config}
    )


class AlgorithmTrainable(Trainable):
    """One trial: one algorithm, which is made when its first iteration or its checkpoint is due."""

    base: ClassVar[AlgorithmConfig[Any]]
    _algorithm: Algorithm | None = None

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> PlacementGroupFactory:
        """Return a bundle for the process of the trial, and one for each runner and learner."""
        settings = with_parameters(cls.base, config).settings
        demand = demand_of(settings.env_runners, settings.learners, num_learners=_num_learners(settings))
        others = [dict(kind.resources) for kind in demand.groups for _ in range(kind.num)]
        strategy = settings.resources.placement_strategy
        return PlacementGroupFactory([_own_bundle(settings), *others], strategy=strategy)

    def setup(self, config: Mapping[str, Any]) -> None:
        """Take the parameters of the trial. Raises ValueError in one sentence."""
        self._config = with_parameters(self.base, config)

    def step(self) -> dict[str, Any]:
        """Run one iteration and return its metrics."""
        if self._algorithm is None:
            self._algorithm = self._config.build(run_name=self.trial_name)
        return self._algorithm.train()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write what a paused or copied trial goes on from."""
        assert self._algorithm is not None, "Tune saves trials that have made a step"
        self._algorithm.save(Path(checkpoint_dir) / CHECKPOINT)

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        """Go on from a checkpoint, with the parameters of this trial."""
        self.cleanup()
        self._algorithm = Algorithm.from_checkpoint(
            Path(str(checkpoint)) / CHECKPOINT, config=self._config, run_name=self.trial_name
        )

    def cleanup(self) -> None:
        """End runners and learners."""
        if self._algorithm is not None:
            self._algorithm.stop()
            self._algorithm = None


def _num_learners(settings: RunSettings) -> int:
    num_learners = settings.learners.num_learners
    if num_learners == "auto":
        raise ValueError(
            "num_learners='auto' looks at the whole cluster, and a trial has a part of it; give a number"
        )
    return num_learners


def _own_bundle(settings: RunSettings) -> dict[str, float]:
    """Return what the process of a trial needs: a core, and what learning takes where it learns itself."""
    learners = settings.learners
    if _num_learners(settings):
        return {CPU: 1.0}
    own = {CPU: max(1.0, learners.num_cpus_per_learner), GPU: learners.num_gpus_per_learner}
    return {name: amount for name, amount in own.items() if amount}
