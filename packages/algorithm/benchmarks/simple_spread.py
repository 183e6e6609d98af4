"""What MAPPO and independent PPO learn in simple_spread, beside RLlib's independent PPO.

    python packages/algorithm/benchmarks/simple_spread.py --seeds 3 --steps 50000

The environment is that of mpe2, with discrete actions, three agents and episodes of 25 steps, the same build
for all. In every contender one policy plays all three agents. Each trains in a process of its own with one
thread, all in turn within a seed, for the same number of environment steps. At the start and after each fifth
of the steps one evaluation, the same for all and not counted, plays 200 episodes with fixed seeds and most
likely actions. Returns are sums over the agents; gains are over random actions in the same episodes.

outrider mappo         values from the environment's global state (critic="central")
outrider ippo          values from what an agent sees; all else the same
rllib                  PPO with the settings of examples/multi_agent/pettingzoo_parameter_sharing.py:
                       vf_loss_coeff=0.005, one network for policy and values, and PPO's defaults otherwise
                       (batches of 4,000 environment steps, 30 epochs, minibatches of 128, lr 5e-5)
rllib, our settings    the settings of outrider ippo as far as RLlib has them; its rewards are not scaled, so
                       its clip of the squared value error is lifted and the gradients are clipped the same
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything that computes is imported

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_EPISODES, NUM_EVALUATIONS = 200, 5
NUM_ENVS, BATCH, MINIBATCH, EPOCHS, LR, GAMMA, LAMBDA = 32, 1600, 600, 10, 1e-3, 0.95, 0.9

Greedy = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""From observations [agents, 18] to actions [agents]."""
Training = Iterator[tuple[int, Greedy]]
"""Yields, after each iteration, the environment steps so far, and how the newest policy acts."""


def mean_return(act: Greedy) -> float:
    """Play episodes from fixed seeds on."""
    from mpe2.simple_spread_v3 import parallel_env

    env = parallel_env(continuous_actions=False)
    total = 0.0
    for seed in range(10_000, 10_000 + NUM_EPISODES):
        observations, _ = env.reset(seed=seed)
        while env.agents:
            actions = act(np.stack([observations[agent] for agent in env.agents]).astype(np.float32))
            observations, rewards, _, _, _ = env.step(dict(zip(env.agents, actions.tolist(), strict=True)))
            total += sum(rewards.values())
    return total / NUM_EPISODES


def uniform() -> Greedy:
    rng = np.random.default_rng(0)
    return lambda observations: rng.integers(0, 5, len(observations))


def train_outrider(seed: int, critic: str) -> Training:
    import torch

    from outrider.algorithm import PPOConfig

    config = (
        PPOConfig()
        .environment("mpe2.simple_spread_v3:parallel_env")
        .env_runners(num_envs_per_env_runner=NUM_ENVS)
        .multi_agent(policies="shared", critic=critic)
        .rl_module(normalize_observations=True, normalize_rewards=True)
        .training(
            train_batch_size_per_learner=BATCH,
            minibatch_size=MINIBATCH,
            num_epochs=EPOCHS,
            lr=LR,
            gamma=GAMMA,
            lambda_=LAMBDA,
        )
        .debugging(seed=seed)
    )
    with config.build() as algorithm:

        def greedy(observations: NDArray[np.float32]) -> NDArray[np.int64]:
            leaves = {"": torch.from_numpy(observations)}
            if critic == "central":
                leaves["critic"] = torch.zeros(len(observations), 54)  # which no action depends on
            with torch.no_grad():
                parameters, _ = policy(leaves)
            return np.asarray(parameters.argmax(-1).numpy())

        policy = algorithm.policies["shared"]
        yield 0, greedy
        while True:
            metrics = algorithm.train()
            policy = algorithm.policies["shared"]
            yield int(metrics["num_env_steps"]), greedy


def train_rllib(seed: int, *, has_our_settings: bool) -> Training:
    import logging

    import ray
    import torch
    from mpe2.simple_spread_v3 import parallel_env
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.connectors.env_to_module.mean_std_filter import MeanStdFilter
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
    from ray.tune.registry import register_env

    torch.set_num_threads(1)
    ray.init(address="local", logging_level=logging.ERROR, include_dashboard=False, log_to_driver=False)
    register_env("simple_spread", lambda _: ParallelPettingZooEnv(parallel_env(continuous_actions=False)))
    config: Any = (
        PPOConfig()
        .environment("simple_spread")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=NUM_ENVS if has_our_settings else 8)
        .multi_agent(policies={"p0"}, policy_mapping_fn=lambda *_args, **_kwargs: "p0")
        .debugging(seed=seed)
    )
    model = DefaultModelConfig(vf_share_layers=True)
    if has_our_settings:
        config.training(
            train_batch_size_per_learner=BATCH,
            minibatch_size=MINIBATCH,
            num_epochs=EPOCHS,
            lr=LR,
            gamma=GAMMA,
            lambda_=LAMBDA,
            entropy_coeff=0.0,
            clip_param=0.2,
            vf_clip_param=float("inf"),
            vf_loss_coeff=0.005,  # its values are of rewards as they are
            use_kl_loss=False,
            grad_clip=0.5,
            grad_clip_by="global_norm",
        )
        config.env_runners(env_to_module_connector=lambda *_: MeanStdFilter(multi_agent=True))
        model = DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh", vf_share_layers=False)
    else:
        config.training(vf_loss_coeff=0.005)
    config.rl_module(
        rl_module_spec=MultiRLModuleSpec(rl_module_specs={"p0": RLModuleSpec()}), model_config=model
    )
    algorithm = config.build_algo()

    def greedy(observations: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.no_grad():
            out = module.forward_inference({"obs": torch.from_numpy(normalized(observations))})
        return np.asarray(out["action_dist_inputs"].argmax(-1).numpy())

    def normalized(observations: NDArray[np.float32]) -> NDArray[np.float32]:
        return _filtered(algorithm, observations) if has_our_settings else observations

    module = algorithm.get_module("p0")
    yield 0, greedy
    while True:
        metrics = algorithm.train()
        module = algorithm.get_module("p0")
        yield int(metrics["env_runners"]["num_env_steps_sampled_lifetime"]), greedy


def _filtered(algorithm: Any, observations: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: ANN401
    """Normalize as RLlib's runner does: with the statistics of each agent."""
    from ray.rllib.connectors.env_to_module.mean_std_filter import MeanStdFilter

    pipeline = algorithm.env_runner._env_to_module  # noqa: SLF001 - it shows its statistics nowhere else
    (connector,) = [each for each in pipeline.connectors if isinstance(each, MeanStdFilter)]
    filters = connector._filters or {}  # noqa: SLF001 - None before the first step
    return np.stack(
        [
            filters[f"agent_{index}"](row, update=False) if f"agent_{index}" in filters else row
            for index, row in enumerate(observations)
        ]
    ).astype(np.float32)


CONTENDERS: dict[str, Callable[[int], Training]] = {
    "outrider mappo": partial(train_outrider, critic="central"),
    "outrider ippo": partial(train_outrider, critic="own"),
    "rllib": partial(train_rllib, has_our_settings=False),
    "rllib, our settings": partial(train_rllib, has_our_settings=True),
}


def train(name: str, seed: int, num_steps: int) -> dict[str, Any]:
    """Train in this process, and return the curve of evaluated returns and the CPU time of training."""
    training, trained_s = CONTENDERS[name](seed), 0.0
    steps, greedy = next(training)  # imports and set-up
    curve = [(steps, mean_return(greedy))]
    while steps < num_steps:
        start_s = time.process_time()
        steps, greedy = next(training)
        trained_s += time.process_time() - start_s
        if steps >= len(curve) * num_steps / NUM_EVALUATIONS:
            curve.append((steps, mean_return(greedy)))
            print(f"  {name}, seed {seed}: {steps:,} steps, {curve[-1][1]:.1f}", file=sys.stderr, flush=True)
    return {"curve": curve, "cpu_s": trained_s}


def train_in_own_process(name: str, seed: int, num_steps: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, "--seed", str(seed), "--steps", str(num_steps)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith('{"curve"')]
    result: dict[str, Any] = json.loads(line)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(train(given.child, given.seed, given.steps)), flush=True)
        return
    versions = {each: metadata.version(each) for each in ("mpe2", "pettingzoo", "ray", "torch", "numpy")}
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}")
    random_return = mean_return(uniform())
    print(f"uniformly random actions: {random_return:.1f}", flush=True)
    ends: dict[str, list[float]] = {name: [] for name in given.contenders}
    for seed in range(given.seeds):
        for name in given.contenders:
            result = train_in_own_process(name, seed, given.steps)
            ends[name].append(result["curve"][-1][1])
            curve = "  ".join(f"{steps:,}: {value:.1f}" for steps, value in result["curve"])
            print(f"{name:20} seed {seed}  {curve}  {result['cpu_s']:.0f} CPU-s", flush=True)
    for name, values in ends.items():
        low, high = min(values), max(values)
        print(
            f"{name:20} return {mean(values):6.1f} [{low:.1f}, {high:.1f}], "
            f"gain over random {mean(values) - random_return:5.1f}"
        )


if __name__ == "__main__":
    main()
