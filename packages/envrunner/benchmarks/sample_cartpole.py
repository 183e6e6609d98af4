"""Sampling speed on CartPole-v1: the runner, hand-written loops, and RLlib's runner where it is installed.

Every contender has one thread, the same two tanh layers of 64, and its turn in every round, so that what
else the machine does meets all of them alike. Printed are medians [minimum, maximum] over the rounds of
environment steps per CPU-second (transitions; resets do not count) and of the ratios within a round.

    python packages/envrunner/benchmarks/sample_cartpole.py --rounds 7 --seconds 1
"""

from __future__ import annotations

# ruff: noqa: E402 - the number of threads is read when NumPy and torch are imported
import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy and torch are imported

import argparse
import importlib.metadata
import importlib.util
import statistics
import warnings
from collections.abc import Callable
from time import process_time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from outrider.envrunner import (
    EnvironmentSettings,
    EnvRunner,
    EnvRunnerSettings,
    OnnxPolicy,
    make_vector_environment,
)
from outrider.envrunner.environments.environment import spaces_of
from outrider.testing.machine import machine
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.wire import PolicyGraph

NUM_STEPS = 128
ENVIRONMENT = EnvironmentSettings("CartPole-v1")

Sample = Callable[[], int]
"""Samples a fragment's worth and returns the number of transitions."""


def runner(mode: str, num_envs: int) -> Sample:
    """Our runner."""
    settings = EnvRunnerSettings(num_envs_per_env_runner=num_envs, gym_env_vectorize_mode=mode)
    graph = _graph(mode)
    env_runner = EnvRunner(
        ENVIRONMENT,
        settings,
        OnnxPolicy(graph),
        observation_space=graph.observation_space,
        action_heads=graph.action_heads,
        num_steps=NUM_STEPS,
        seed=0,
    )
    env_runner.set_weights(mlp_weights(graph))
    return lambda: env_runner.sample().num_rows


def hand_loop(mode: str, num_envs: int) -> Sample:
    """A minimal loop over the runner's vector environment."""
    settings = EnvRunnerSettings(num_envs_per_env_runner=num_envs, gym_env_vectorize_mode=mode)
    vector = make_vector_environment(ENVIRONMENT, settings, num_envs=num_envs, on_failure=_give_up)
    return _loop_over(vector, mode)


def gymnasium_loop(mode: str, num_envs: int) -> Sample:
    """The same loop over Gymnasium's own SyncVectorEnv."""
    return _loop_over(gym.make_vec("CartPole-v1", num_envs, vectorization_mode="sync"), mode)


def _loop_over(vector: gym.vector.VectorEnv[Any, Any, Any], mode: str) -> Sample:
    graph = _graph(mode)
    policy = OnnxPolicy(graph)
    policy.set_weights(mlp_weights(graph))
    rng = np.random.default_rng(0)
    size = (NUM_STEPS, vector.num_envs)
    latest, _ = vector.reset(seed=0)
    resets_apart = vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP

    def sample() -> int:
        nonlocal latest
        observations = np.empty((*size, 4), np.float32)
        actions = np.empty(size, np.int64)
        log_probs, rewards = np.empty(size, np.float32), np.empty(size, np.float32)
        terminated, truncated = np.empty(size, np.bool_), np.empty(size, np.bool_)
        rows = np.arange(vector.num_envs)
        for step in range(NUM_STEPS):
            observations[step] = latest
            logits, _ = policy.act({"": latest}, {})
            probabilities = np.exp(logits - logits.max(1, keepdims=True))
            probabilities /= probabilities.sum(1, keepdims=True)
            actions[step] = (probabilities.cumsum(1) < rng.random((vector.num_envs, 1))).sum(1)
            log_probs[step] = np.log(probabilities[rows, actions[step]])
            latest, rewards[step], terminated[step], truncated[step], _ = vector.step(actions[step])
        num_resets = int((terminated | truncated).sum()) if resets_apart else 0
        return NUM_STEPS * vector.num_envs - num_resets

    return sample


def rllib(mode: str, num_envs: int) -> Sample:
    """RLlib's runner in the calling process, with the same network."""
    import torch
    from gymnasium.envs.registration import VectorizeMode
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    torch.set_num_threads(1)
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=num_envs,
            gym_env_vectorize_mode=VectorizeMode(mode),
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh"))
    )
    env_runner = SingleAgentEnvRunner(config=config)
    num_rows = NUM_STEPS * num_envs
    return lambda: sum(len(episode) for episode in env_runner.sample(num_timesteps=num_rows))


def _graph(mode: str) -> PolicyGraph:
    settings = EnvRunnerSettings(gym_env_vectorize_mode=mode)
    return mlp_graph(*spaces_of(ENVIRONMENT, settings.gym_env_vectorize_mode))


def _give_up(_: int, error: BaseException) -> int:
    raise error


def race(contenders: dict[str, Sample], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return steps per CPU-second of each contender in each round; the first, warming round is dropped."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, sample in contenders.items():
            num_rows, start = 0, process_time()
            while process_time() - start < seconds:
                num_rows += sample()
            speeds[name].append(num_rows / (process_time() - start))
    return {name: each[1:] for name, each in speeds.items()}


def spread(values: list[float], form: str) -> str:
    """Write the median [minimum, maximum]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    """Race all contenders and print one line for each mode and number of environments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU-seconds of a contender in a round")
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 8, 32, 128])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    gym.logger.min_level = gym.logger.ERROR
    with_rllib = importlib.util.find_spec("ray") is not None
    print(machine("gymnasium", "numpy", "onnxruntime", "ray", "torch"))
    for mode in ("sync", "vector_entry_point"):
        for num_envs in arguments.envs:
            contenders = {"runner": runner(mode, num_envs), "hand loop": hand_loop(mode, num_envs)}
            if mode == "sync":
                contenders["hand loop, SyncVectorEnv"] = gymnasium_loop(mode, num_envs)
            if with_rllib:
                contenders["RLlib"] = rllib(mode, num_envs)
            speeds = race(contenders, arguments.rounds, arguments.seconds)
            print(f"\n{mode}, {num_envs} environments")
            for name, each in speeds.items():
                ratios = [ours / theirs for ours, theirs in zip(speeds["runner"], each, strict=True)]
                ratio = "" if name == "runner" else f"   runner / this: {spread(ratios, '.2f')}"
                print(f"  {name:25} {spread(each, '10,.0f')}{ratio}", flush=True)


if __name__ == "__main__":
    main()
