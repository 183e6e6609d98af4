"""Algorithms as trials of Ray Tune."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from outrider.algorithm import PPOConfig
from outrider.algorithm.ray_tune import tune_trainable

EXAMPLE = Path(__file__).parents[1] / "examples" / "tune_ppo.py"


class PausingOnce(FIFOScheduler):
    """Pauses every trial after its first iteration; it goes on when no other one waits."""

    def __init__(self) -> None:
        super().__init__()
        self.paused: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if trial.trial_id in self.paused:
            return TrialScheduler.CONTINUE
        self.paused.add(trial.trial_id)
        return TrialScheduler.PAUSE


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_a_trial_with_a_runner_is_paused_and_goes_on(local_ray: None, tmp_path: Path) -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=1)
        .training(train_batch_size_per_learner=200)
    )
    scheduler = PausingOnce()
    tuner = tune.Tuner(
        tune_trainable(config),
        param_space={"training": {"lr": tune.loguniform(1e-4, 1e-3)}, "training.num_epochs": 1},
        tune_config=tune.TuneConfig(metric="num_env_steps", mode="max", scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=str(tmp_path), stop={"training_iteration": 2}, verbose=0),
    )
    results = tuner.fit()
    assert results.num_errors == 0
    assert len(scheduler.paused) == 1
    assert [result.metrics["num_env_steps"] for result in results] == [400]


def test_the_example_prints_the_best() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--num-samples", "2", "--iterations", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("best: lr ")
