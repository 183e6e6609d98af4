"""IMPALA and APPO on CartPole-v1 with two runners, beside RLlib and Sample Factory.

    python packages/algorithm/benchmarks/asynchronous.py --rounds 3
    python packages/algorithm/benchmarks/asynchronous.py --sample-factory VENV/bin/python

Each library trains in a process of its own, all of them in turn within a round, with as many cores and
at the same niceness. All have two runners of 16 copies; Outrider trains with its default settings, RLlib
with those of its examples cartpole_impala.py and cartpole_appo.py. What is reported:

    steps/s   environment steps that were sampled and trained on, each counted once however often it was
              replayed, per second of training, from the first iteration that trained on any on, for at
              least --seconds
    steps     environment steps until a separate evaluation of 100 episodes without exploration reached
              450; it comes each time another --steps-between-evaluations were trained on
    wall      seconds of training until then, from the first call that trains; evaluations do not count

A run that has not reached 450 after --limit seconds of training ends; its figures are then lower bounds
of what it needs, and are marked with >. Sample Factory needs an old Gymnasium and hence an environment of
its own (pip install sample-factory torch==2.13.0); only its steps/s are measured, by
sample_factory_cartpole.py beside this script.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything that computes is imported

import argparse
import json
import logging
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

TARGET_RETURN = 450.0
NUM_EPISODES = 100

Evaluate = Callable[[], float]
Training = Iterator[tuple[int, Evaluate]]
"""Yields, after each iteration, the environment steps trained on, and what evaluates the newest policy."""


def train_outrider(name: str, seed: int) -> Training:
    from outrider.algorithm import APPOConfig, IMPALAConfig

    config: Any = IMPALAConfig() if name == "impala" else APPOConfig()
    config.environment("CartPole-v1")
    config.env_runners(num_env_runners=2, num_envs_per_env_runner=16, env_runner_backend="ray")
    config.evaluation(evaluation_duration=NUM_EPISODES)
    config.debugging(seed=seed)
    with config.build() as algorithm:
        yield 0, lambda: float(algorithm.evaluate()["episode_return_mean"])
        while True:
            metrics = algorithm.train()
            num_steps = metrics["num_env_steps"] - metrics["num_stale_rows"]
            yield num_steps, lambda: float(algorithm.evaluate()["episode_return_mean"])


def train_rllib(name: str, seed: int) -> Training:
    import ray
    from ray.rllib.algorithms.appo import APPOConfig
    from ray.rllib.algorithms.impala import IMPALAConfig
    from ray.rllib.connectors.env_to_module.mean_std_filter import MeanStdFilter
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    ray.init(
        address="local",
        num_cpus=8,  # two runners and a learner share the cores, as Outrider's do
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _system_config={"worker_niceness": 0},
    )
    if name == "impala":
        config: Any = IMPALAConfig().training(
            train_batch_size_per_learner=500,
            grad_clip=40.0,
            grad_clip_by="global_norm",
            lr=0.0005,
            vf_loss_coeff=0.05,
            entropy_coeff=0.0,
        )
        config.env_runners(env_to_module_connector=lambda *_: MeanStdFilter())
        config.learners(num_learners=1)
    else:
        config = APPOConfig().training(
            circular_buffer_iterations_per_batch=2, vf_loss_coeff=0.05, entropy_coeff=0.0
        )
    config.environment("CartPole-v1")
    config.env_runners(num_env_runners=2, num_envs_per_env_runner=16)
    config.rl_module(model_config=DefaultModelConfig(vf_share_layers=True))
    config.evaluation(
        evaluation_interval=10**9,  # never by itself; it makes the environments of an evaluation
        evaluation_duration=NUM_EPISODES,
        evaluation_duration_unit="episodes",
        evaluation_config={"explore": False},
    )
    config.reporting(min_time_s_per_iteration=1)  # 10 otherwise, and as long between two evaluations
    config.debugging(seed=seed)
    algorithm = config.build_algo()

    def evaluate() -> float:
        return float(algorithm.evaluate()["env_runners"]["episode_return_mean"])

    yield 0, evaluate
    while True:
        metrics = algorithm.train()
        learned = metrics.get("learners", {}).get("__all_modules__", {})
        num_steps = min(  # a row that is replayed counts once, one that is dropped does not
            metrics.get("env_runners", {}).get("num_env_steps_sampled_lifetime", 0),
            learned.get("num_env_steps_trained_lifetime", 0),
        )
        yield int(num_steps), evaluate


TRAINING = {"outrider": train_outrider, "rllib": train_rllib}


def race(library: str, name: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train in this process until 450 is reached and the speed is known, or the limit is."""
    training = TRAINING[library](name, seed)
    num_steps, evaluate = next(training)  # imports, processes, environments
    trained_s, evaluated_at = 0.0, 0
    reached: tuple[int, float] | None = None
    since: tuple[int, float] | None = None
    while trained_s < given.limit and (reached is None or trained_s < given.seconds):
        start = time.perf_counter()
        num_steps, evaluate = next(training)
        trained_s += time.perf_counter() - start
        if since is None and num_steps:
            since = num_steps, trained_s
        if reached is None and num_steps - evaluated_at >= given.steps_between_evaluations:
            evaluated_at = num_steps
            if evaluate() >= TARGET_RETURN:
                reached = num_steps, trained_s
    first_steps, first_s = since or (0, 0.0)
    return {
        "steps/s": (num_steps - first_steps) / max(1e-9, trained_s - first_s),
        "steps": reached[0] if reached else num_steps,
        "wall": reached[1] if reached else trained_s,
        "reached": reached is not None,
    }


def in_own_process(command: list[str]) -> dict[str, Any]:
    """Run a contender and return the line of JSON that it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith('{"steps/s"'):
            result: dict[str, Any] = json.loads(line)
            return result
    raise RuntimeError(f"{command} ended without a result, exit code {done.returncode}:\n{done.stdout}")


def commands(given: argparse.Namespace, name: str, seed: int) -> dict[str, list[str]]:
    """Return how each contender of an algorithm is run."""
    flags = [
        *("--seed", str(seed), "--limit", str(given.limit), "--seconds", str(given.seconds)),
        *("--steps-between-evaluations", str(given.steps_between_evaluations)),
    ]
    ours = [sys.executable, __file__, "--child"]
    found = {"outrider": [*ours, "outrider", name, *flags]}
    if installed("dm-tree"):  # which only ray[rllib] brings along
        found["rllib"] = [*ours, "rllib", name, *flags]
    if given.sample_factory and name == "appo":
        script = Path(__file__).with_name("sample_factory_cartpole.py")
        found["sample factory"] = [given.sample_factory, str(script), str(given.seconds)]
    return {each: command for each, command in found.items() if each in given.libraries}


def installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def report(name: str, results: dict[str, list[dict[str, Any]]]) -> None:
    """Print each figure of each library, and Outrider's divided by it, round by round."""
    for column in ("steps/s", "steps", "wall"):
        for library, rows in results.items():
            if column not in rows[0]:
                continue
            values = [float(row[column]) for row in rows]
            line = f"{name:7} {column:8} {library:15} {spread(values, ',.1f')}"
            bound = ">" if column != "steps/s" and not all(row["reached"] for row in rows) else ""
            if library != "outrider" and "outrider" in results:
                ours = [float(row[column]) for row in results["outrider"]]
                ratios = [mine / theirs for mine, theirs in zip(ours, values, strict=True)]
                line += f"   outrider / it {'<' if bound else ''}{spread(ratios, '.3f')}"
            print(f"{line} {bound}", flush=True)


def spread(values: list[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    libraries = ("outrider", "rllib", "sample factory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--algorithms", nargs="+", choices=("impala", "appo"), default=("impala", "appo"))
    parser.add_argument("--libraries", nargs="+", choices=libraries, default=libraries)
    parser.add_argument("--seconds", type=float, default=30.0, help="shortest training of a run")
    parser.add_argument("--limit", type=float, default=300.0, help="longest training of a run, in seconds")
    parser.add_argument("--steps-between-evaluations", type=int, default=20_000)
    parser.add_argument("--sample-factory", metavar="PYTHON", help="interpreter that has sample-factory")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(race(*given.child, given.seed, given)), flush=True)
        os._exit(0)  # shutting down is nobody's training time, and RLlib's may hang
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    versions = ", ".join(f"{each} {metadata.version(each)}" for each in ("ray", "torch", "gymnasium"))
    print(f"{os.cpu_count()} cores, load {load}; Python {platform.python_version()}, {versions}")
    for name in given.algorithms:
        results: dict[str, list[dict[str, Any]]] = {}
        for seed in range(given.rounds):
            for library, command in commands(given, name, seed).items():
                results.setdefault(library, []).append(in_own_process(command))
                print(f"{name} {library} {seed}: {results[library][-1]}", flush=True)
        report(name, results)


if __name__ == "__main__":
    main()
