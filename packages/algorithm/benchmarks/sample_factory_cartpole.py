"""Sample Factory's APPO on CartPole-v1 with two workers; run by asynchronous.py, in an environment apart.

    VENV/bin/python packages/algorithm/benchmarks/sample_factory_cartpole.py SECONDS

Prints one line of JSON: environment steps that were sampled and trained on, per second of training.
"""

import json
import sys
import tempfile
import time

import gymnasium as gym
from sample_factory.algo.runners.runner import AlgoObserver
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.train import make_runner

NUM_WORKERS, NUM_ENVS = 2, 16
WARM_UP_S = 5


class Watch(AlgoObserver):
    """Notes after each update how many environment steps were trained on, and ends training in time."""

    def __init__(self, seconds: float) -> None:
        self.points: list[tuple[float, int]] = []
        self._seconds = seconds

    def on_training_step(self, runner, _iteration) -> None:  # noqa: ANN001 - Sample Factory's
        self.points.append((time.perf_counter(), sum(runner.env_steps.values())))
        if time.perf_counter() - self.points[0][0] > self._seconds:
            runner.cfg.train_for_env_steps = 0  # its own train_for_seconds compares with a clock that stands


def make_env(_name, _cfg, _env_config, render_mode=None):  # noqa: ANN001, ANN201 - Sample Factory's
    return gym.make("CartPole-v1", render_mode=render_mode)


def main() -> None:
    seconds = float(sys.argv[1])
    register_env("CartPole-v1", make_env)
    with tempfile.TemporaryDirectory() as directory:
        flags = {
            "env": "CartPole-v1",
            "algo": "APPO",
            "device": "cpu",
            "experiment": "race",
            "train_dir": directory,
            "num_workers": NUM_WORKERS,
            "num_envs_per_worker": NUM_ENVS,
            "worker_num_splits": 2,
            "rollout": 32,
            "batch_size": 1024,
            "num_epochs": 1,
            "use_rnn": False,
            "save_every_sec": 3600,
        }
        arguments = [f"--{name}={value}" for name, value in flags.items()]
        parser, _ = parse_sf_args(arguments)
        _, runner = make_runner(parse_full_cfg(parser, arguments))
        runner.init()
        watch = Watch(WARM_UP_S + seconds)
        runner.register_observer(watch)
        runner.run()
    begun = watch.points[0][0] + WARM_UP_S
    settled = [point for point in watch.points if point[0] > begun]
    (start, first), (end, last) = settled[0], settled[-1]
    print(json.dumps({"steps/s": (last - first) / (end - start)}), flush=True)


if __name__ == "__main__":
    main()
