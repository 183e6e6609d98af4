"""Race libraries to an evaluated mean return of 475 over 100 episodes of CartPole-v1.

    python packages/algorithm/benchmarks/cartpole_to_475.py --seeds 5

Each library trains with its own best published settings, one seed after the other and the libraries
in turn within a seed, each in a process of its own. Whenever another 2,000 environment steps have
been trained on, training pauses for one evaluation that is the same for all: the most likely action
in 100 fresh episodes. Its time is not counted. What is reported:

    steps        environment steps until the evaluation reached 475
    training     seconds inside the library's training calls until then
    command      wall seconds from starting the process until then, imports and set-up included

Libraries that are not installed are left out. A run that exhausts its library's own step budget
counts with the time that it took until there, and is marked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from statistics import median

import gymnasium as gym
import numpy as np

TARGET_RETURN = 475.0
STEPS_BETWEEN_EVALUATIONS = 2_000
DISTRIBUTIONS = {
    "outrider": "outrider-algorithm",
    "rllib": "ray",
    "rllib, 8 copies": "ray",
    "sb3": "stable_baselines3",
}

Greedy = Callable[[np.ndarray], np.ndarray]


def mean_return(greedy: Greedy, num_episodes: int = 100) -> float:
    """Play one episode in each of `num_episodes` environments, always the most likely action."""
    environments = gym.make_vec("CartPole-v1", num_episodes, vectorization_mode="vector_entry_point")
    observations, _ = environments.reset(seed=10_000)
    playing = np.ones(num_episodes, bool)
    returns = np.zeros(num_episodes)
    while playing.any():
        observations, _, terminated, truncated, _ = environments.step(greedy(observations))
        returns += playing
        playing &= ~(terminated | truncated)
    return float(returns.mean())


def train_outrider(seed: int) -> Iterator[tuple[int, Greedy]]:
    import torch

    from outrider.algorithm import PPOConfig

    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=8, gym_env_vectorize_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT)
        .training(lr=2e-3, train_batch_size_per_learner=1024, minibatch_size=256, num_epochs=10)
        .rl_module(normalize_rewards=True)
        .debugging(seed=seed)
    )
    with config.build() as algorithm:

        def greedy(observations: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                parameters, _ = algorithm.policy({"": torch.from_numpy(observations)})
            return parameters.argmax(-1).numpy()

        yield 0, greedy
        while True:
            metrics = algorithm.train()
            yield int(metrics["num_env_steps"]), greedy


def train_rllib(seed: int, num_envs: int = 1) -> Iterator[tuple[int, Greedy]]:
    """The settings of rllib/examples/algorithms/ppo/cartpole_ppo.py, without remote runners.

    They leave the number of environment copies at 1; with 8, as the others have, its runner is faster.
    """
    import logging

    import ray
    import torch
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    torch.set_num_threads(1)
    ray.init(logging_level=logging.ERROR, include_dashboard=False, log_to_driver=False)
    algorithm = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
        .training(lr=0.0003, num_epochs=6, vf_loss_coeff=0.01)
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=[32], fcnet_activation="linear", vf_share_layers=True
            )
        )
        .debugging(seed=seed)
        .build_algo()
    )

    def greedy(observations: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            out = algorithm.get_module().forward_inference({"obs": torch.from_numpy(observations)})
        return out["action_dist_inputs"].argmax(-1).numpy()

    num_steps = 0
    yield num_steps, greedy
    while num_steps < 400_000:
        metrics = algorithm.train()
        num_steps = int(metrics["env_runners"]["num_env_steps_sampled_lifetime"])
        yield num_steps, greedy


def train_sb3(seed: int) -> Iterator[tuple[int, Greedy]]:
    """The settings of rl-baselines3-zoo's hyperparams/ppo.yml, 100,000 steps."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.utils import LinearSchedule

    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=8, seed=seed),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=LinearSchedule(1e-3, 0.0, 1.0),
        clip_range=LinearSchedule(0.2, 0.0, 1.0),
        seed=seed,
        device="cpu",
    )

    def greedy(observations: np.ndarray) -> np.ndarray:
        return model.predict(observations, deterministic=True)[0]

    # The loop of OnPolicyAlgorithm.learn, opened up so that evaluation stays out of the clock.
    budget, callback = model._setup_learn(100_000)  # noqa: SLF001
    yield 0, greedy
    while model.num_timesteps < budget:
        model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=model.n_steps)
        model._update_current_progress_remaining(model.num_timesteps, budget)  # noqa: SLF001
        model.train()
        yield model.num_timesteps, greedy


def race(library: str, seed: int) -> dict[str, float | bool]:
    """Train in this process until the target or the library's budget is reached."""
    trained_wall_s = trained_cpu_s = evaluated_wall_s = 0.0
    evaluated_at, reached = 0, False
    training = TRAINING[library](seed)
    num_steps, greedy = next(training)  # imports and set-up
    while not reached:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        step = next(training, None)
        trained_wall_s += time.perf_counter() - wall_s
        trained_cpu_s += time.process_time() - cpu_s
        if step is None:
            break
        num_steps, greedy = step
        if num_steps - evaluated_at >= STEPS_BETWEEN_EVALUATIONS:
            wall_s = time.perf_counter()
            evaluated_at = num_steps
            reached = mean_return(greedy) >= TARGET_RETURN
            evaluated_wall_s += time.perf_counter() - wall_s
    return {
        "reached": reached,
        "steps": num_steps,
        "training_wall_s": trained_wall_s,
        "training_cpu_s": trained_cpu_s,
        "evaluation_wall_s": evaluated_wall_s,
    }


def race_in_own_process(library: str, seed: int) -> dict[str, float | bool]:
    start_s = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", library, "--seed", str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith('{"reached"'):
            result: dict[str, float | bool] = json.loads(line)
            result["command_wall_s"] = time.perf_counter() - start_s - result["evaluation_wall_s"]
            child.wait(timeout=120)  # shutting down is nobody's training time
            return result
    msg = f"{library} with seed {seed} ended without a result, exit code {child.wait()}"
    raise RuntimeError(msg)


def machine() -> str:
    versions = {name: metadata.version(name) for name in DISTRIBUTIONS.values() if installed(name)}
    versions |= {name: metadata.version(name) for name in ("torch", "gymnasium", "numpy")}
    cores = f"{os.cpu_count()} x {platform.processor() or platform.machine()}"
    return f"{cores}, Python {platform.python_version()}, {versions}"


def installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def spread(values: list[float]) -> str:
    return f"{median(values):8.2f} [{min(values):.2f}, {max(values):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--libraries", nargs="+", choices=DISTRIBUTIONS, default=list(DISTRIBUTIONS))
    parser.add_argument("--child", choices=DISTRIBUTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(race(arguments.child, arguments.seed)), flush=True)
        return
    libraries = [name for name in arguments.libraries if installed(DISTRIBUTIONS[name])]
    print(machine())
    results: dict[str, list[dict[str, float | bool]]] = {name: [] for name in libraries}
    for seed in range(arguments.seeds):
        for library in libraries:
            results[library].append(race_in_own_process(library, seed))
            print(library, seed, results[library][-1], flush=True)
    for column in ("steps", "training_cpu_s", "training_wall_s", "command_wall_s"):
        print(
            f"\n{column}, median [min, max] of {arguments.seeds} seeds; outrider's ratio to it, seed by seed"
        )
        for library in libraries:
            values = [float(row[column]) for row in results[library]]
            ratios = [
                float(ours[column]) / value for ours, value in zip(results["outrider"], values, strict=True)
            ]
            failed = sum(not row["reached"] for row in results[library])
            note = f"   ({failed} did not reach {TARGET_RETURN})" if failed else ""
            print(f"  {library:15} {spread(values)}   ratio {spread(ratios)}{note}")


TRAINING = {
    "outrider": train_outrider,
    "rllib": train_rllib,
    "rllib, 8 copies": partial(train_rllib, num_envs=8),
    "sb3": train_sb3,
}

if __name__ == "__main__":
    main()
