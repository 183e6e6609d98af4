"""Searches two hyper-parameters of PPO on CartPole with Ray Tune, which needs `outrider-algorithm[tune]`.

    python examples/tune_ppo.py

Eight trials train with learning rates and numbers of epochs of their own, as many at a time as there are
cores; those that lag behind are ended early (ASHA). Expect a table of the trials and the best of them,
after about a minute on two cores.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile

try:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
except ImportError as error:
    missing = error.name or "a part of it"
    sys.exit(f"this example needs Ray Tune, and {missing} is not installed; install outrider-algorithm[tune]")

from outrider.algorithm import PPOConfig
from outrider.algorithm.ray_tune import tune_trainable

METRIC = "episode_return_mean"
SEARCHED = {
    "training.lr": tune.loguniform(1e-4, 1e-2),
    "training.num_epochs": tune.choice([3, 6, 10, 20]),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-samples", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=20)
    given = parser.parse_args()
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=8)
        .training(train_batch_size_per_learner=1024)
        .debugging(seed=0)
    )
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as results:
        tuner = tune.Tuner(
            tune_trainable(config),
            param_space=SEARCHED,
            tune_config=tune.TuneConfig(
                metric=METRIC,
                mode="max",
                num_samples=given.num_samples,
                scheduler=ASHAScheduler(max_t=given.iterations, grace_period=min(5, given.iterations)),
            ),
            run_config=tune.RunConfig(storage_path=results, verbose=0),
        )
        trials = tuner.fit()
    for trial in sorted(trials, key=lambda each: -each.metrics[METRIC]):
        print(line(trial))
    print("best:", line(trials.get_best_result()))
    ray.shutdown()


def line(trial: tune.Result) -> str:
    found = trial.config
    return (
        f"lr {found['training.lr']:.1e}  num_epochs {found['training.num_epochs']:2d}  "
        f"return {trial.metrics[METRIC]:5.1f} after {trial.metrics['num_env_steps']:,} steps"
    )


if __name__ == "__main__":
    main()
