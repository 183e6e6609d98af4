"""What MAPPO and independent PPO learn in simple_spread, beside RLlib's independent PPO.

    python packages/algorithm/benchmarks/simple_spread.py --seeds 3 --steps 50000

The environment is that of mpe2, with discrete actions, three agents and episodes of 25 steps, the same build
for all. One policy plays all three agents, unless a contender says otherwise. Each trains in a process of its
own with one thread, all in turn within a seed, for the same number of environment steps. Evaluations, the
same for all and not counted, play 200 episodes with fixed seeds, once with most likely actions and once with
drawn ones. Returns are sums over the agents; gains are over random actions in the same episodes.

outrider mappo         values from the environment's global state (critic="central")
outrider ippo          values from what an agent sees; all else the same
rllib                  PPO with the settings of examples/multi_agent/pettingzoo_parameter_sharing.py:
                       vf_loss_coeff=0.005, one network for policy and values, and PPO's defaults otherwise
                       (batches of 4,000 environment steps, 30 epochs, minibatches of 128, lr 5e-5)
rllib, our settings    the settings of outrider ippo as far as RLlib has them; its rewards are not scaled, so
                       its clip of the squared value error is lifted and the gradients are clipped the same
..., per agent         likewise, and a policy for each agent

..., its settings      outrider with those of RLlib, but values have layers of their own: with shared ones and
                       rewards that are not scaled, values so far from 0 take over the layers. RLlib's do not
                       learn: its clip of their squared error stops the gradient of nearly all
..., anew              likewise, and recompute_advantages=True
..., limit ends        likewise, not anew, and the time limit of 25 steps is a termination: nothing is worth
                       anything after it. RLlib takes it for one wherever there are several agents
..., gamma 0.95        likewise, not anew, and a horizon of 20 steps instead of 100
..., no values         likewise, not anew, and values stay near 0 (vf_loss_coeff=0)
rllib, per agent       a policy for each agent
rllib, values learn    one policy; its clip of the value error is lifted, and values have layers of their own
..., and bootstrap     likewise, and what is truncated has the value of what followed, as with one agent
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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_EPISODES = 200
NUM_ENVS, BATCH, MINIBATCH, EPOCHS, LR, GAMMA, LAMBDA = 32, 1600, 600, 10, 1e-3, 0.95, 0.9

ITS_TRAINING = {
    "train_batch_size_per_learner": 4000,
    "minibatch_size": 128,
    "num_epochs": 30,
    "lr": 5e-5,
    "gamma": 0.99,
    "lambda_": 1.0,
    "clip_param": 0.3,
    "use_kl_loss": True,
    "vf_loss_coeff": 0.005,
    "grad_clip": None,
    "adam_epsilon": 1e-8,
}

Logits = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From observations [agents, 18] to logits [agents, 5]."""
Training = Iterator[tuple[int, Logits]]
"""Yields, after each iteration, the environment steps so far, and the newest policy."""


class Point(NamedTuple):
    """One evaluation: the mean return with most likely actions, and with drawn ones."""

    num_steps: int
    likely: float
    drawn: float

    def __str__(self) -> str:
        return f"{self.num_steps:,}: {self.likely:.1f} ({self.drawn:.1f})"


def mean_return(logits: Logits, *, are_drawn: bool) -> float:
    """Play episodes from fixed seeds on, with actions that are drawn or are the most likely ones."""
    from mpe2.simple_spread_v3 import parallel_env

    rng = np.random.default_rng(0)

    env = parallel_env(continuous_actions=False)
    total = 0.0
    for seed in range(10_000, 10_000 + NUM_EPISODES):
        observations, _ = env.reset(seed=seed)
        while env.agents:
            scores = logits(np.stack([observations[agent] for agent in env.agents]).astype(np.float32))
            # The largest of logits with Gumbel noise is a draw from the softmax.
            actions = (scores + rng.gumbel(size=scores.shape) if are_drawn else scores).argmax(-1)
            observations, rewards, _, _, _ = env.step(dict(zip(env.agents, actions.tolist(), strict=True)))
            total += sum(rewards.values())
    return total / NUM_EPISODES


def uniform(observations: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.zeros((len(observations), 5), np.float32)


def limit_that_ends(**options: Any) -> Any:  # noqa: ANN401 - a parallel environment of mpe2's
    """Make simple_spread whose time limit is a termination."""
    from mpe2.simple_spread_v3 import parallel_env
    from pettingzoo.utils import BaseParallelWrapper

    class Ending(BaseParallelWrapper):  # type: ignore[misc, type-arg, unused-ignore]
        def step(self, actions: dict[str, Any]) -> Any:  # noqa: ANN401
            observations, rewards, _, truncations, infos = super().step(actions)
            return observations, rewards, truncations, dict.fromkeys(truncations, False), infos

    return Ending(parallel_env(**options))


def train_outrider(
    seed: int,
    critic: str,
    *,
    has_its_settings: bool,
    limit_ends: bool = False,
    policies: str = "shared",
    **training: float,
) -> Training:
    import torch

    from outrider.algorithm import PPOConfig

    config: Any = (
        PPOConfig()
        .environment(limit_that_ends if limit_ends else "mpe2.simple_spread_v3:parallel_env")
        .env_runners(num_envs_per_env_runner=8 if has_its_settings else NUM_ENVS)
        .multi_agent(policies=policies, critic=critic)
        .debugging(seed=seed)
    )
    if has_its_settings:
        config.rl_module(fcnet_hiddens=(256, 256)).training(**ITS_TRAINING)
    else:
        config.rl_module(normalize_observations=True, normalize_rewards=True).training(
            train_batch_size_per_learner=BATCH,
            minibatch_size=MINIBATCH,
            num_epochs=EPOCHS,
            lr=LR,
            gamma=GAMMA,
            lambda_=LAMBDA,
        )
    config.training(**training)
    with config.build() as algorithm:

        def logits(observations: NDArray[np.float32]) -> NDArray[np.float32]:
            leaves = {"": torch.from_numpy(observations)}
            if critic == "central":
                leaves["critic"] = torch.zeros(len(observations), 54)  # which no action depends on
            with torch.no_grad():
                parameters = torch.stack([policy(leaves)[0] for policy in acting])
            return np.asarray(of_each_agent(parameters.numpy()))

        acting = list(algorithm.policies.values())
        yield 0, logits
        while True:
            metrics = algorithm.train()
            acting = list(algorithm.policies.values())
            yield int(metrics["num_env_steps"]), logits


def of_each_agent(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take from what each policy says of each agent [policies, agents, 5] what the agent's own says."""
    num_policies, num_agents = logits.shape[:2]
    return logits[np.arange(num_agents) % num_policies, np.arange(num_agents)]


def train_rllib(
    seed: int,
    *,
    has_our_settings: bool = False,
    values_learn: bool = False,
    bootstraps: bool = False,
    policies: tuple[str, ...] = ("p0",),
) -> Training:
    import logging

    import ray
    import torch
    from mpe2.simple_spread_v3 import parallel_env
    from ray.rllib.algorithms.ppo import PPOConfig
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
        .multi_agent(
            policies=set(policies),
            policy_mapping_fn=lambda agent, *_, **__: agent if agent in policies else policies[0],
        )
        .debugging(seed=seed)
    )
    model = DefaultModelConfig(vf_share_layers=True)
    if has_our_settings:
        _take_our_settings(config)
        model = DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh", vf_share_layers=False)
    else:
        config.training(vf_loss_coeff=0.005)
    if values_learn:
        config.training(vf_clip_param=float("inf"))
        model = DefaultModelConfig(vf_share_layers=False)
    if bootstraps:
        _let_truncated_agents_bootstrap()
    config.rl_module(
        rl_module_spec=MultiRLModuleSpec(rl_module_specs={name: RLModuleSpec() for name in policies}),
        model_config=model,
    )
    algorithm = config.build_algo()

    def logits(observations: NDArray[np.float32]) -> NDArray[np.float32]:
        leaves = {"obs": torch.from_numpy(normalized(observations))}
        with torch.no_grad():
            outputs = [module.forward_inference(leaves)["action_dist_inputs"] for module in acting]
        return of_each_agent(torch.stack(outputs).numpy())

    def normalized(observations: NDArray[np.float32]) -> NDArray[np.float32]:
        return _filtered(algorithm, observations) if has_our_settings else observations

    acting = [algorithm.get_module(name) for name in policies]
    yield 0, logits
    while True:
        metrics = algorithm.train()
        acting = [algorithm.get_module(name) for name in policies]
        yield int(metrics["env_runners"]["num_env_steps_sampled_lifetime"]), logits


def _take_our_settings(config: Any) -> None:  # noqa: ANN401 - RLlib's
    """Train as outrider ippo, as far as RLlib can."""
    from ray.rllib.connectors.env_to_module.mean_std_filter import MeanStdFilter

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


def _let_truncated_agents_bootstrap() -> None:
    """Undo that agents which are all truncated count as terminated (MultiAgentEpisode.add_env_step)."""
    from ray.rllib.connectors.learner import general_advantage_estimation as estimation

    estimate = estimation.compute_value_targets

    def bootstrapped(
        *, terminateds: NDArray[Any], truncateds: NDArray[Any], **columns: NDArray[Any] | float
    ) -> NDArray[Any]:
        terminateds = terminateds * (1 - truncateds)
        targets: NDArray[Any] = estimate(terminateds=terminateds, truncateds=truncateds, **columns)
        return targets

    estimation.compute_value_targets = bootstrapped


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


ITS = partial(train_outrider, has_its_settings=True)

CONTENDERS: dict[str, Callable[[int], Training]] = {
    "outrider mappo": partial(train_outrider, critic="central", has_its_settings=False),
    "outrider ippo": partial(train_outrider, critic="own", has_its_settings=False),
    "outrider mappo, anew": partial(
        train_outrider, critic="central", has_its_settings=False, recompute_advantages=True
    ),
    "outrider ippo, anew": partial(
        train_outrider, critic="own", has_its_settings=False, recompute_advantages=True
    ),
    "outrider ippo, anew, per agent": partial(
        train_outrider,
        critic="own",
        has_its_settings=False,
        policies="per_agent",
        recompute_advantages=True,
    ),
    "outrider mappo, its settings": partial(ITS, critic="central"),
    "outrider ippo, its settings": partial(ITS, critic="own"),
    "outrider mappo, its settings, anew": partial(ITS, critic="central", recompute_advantages=True),
    "outrider ippo, its settings, anew": partial(ITS, critic="own", recompute_advantages=True),
    "outrider ippo, its settings, limit ends": partial(ITS, critic="own", limit_ends=True),
    "outrider ippo, its settings, no values": partial(ITS, critic="own", vf_loss_coeff=0.0),
    "outrider ippo, its settings, gamma 0.95": partial(ITS, critic="own", gamma=0.95),
    "rllib": train_rllib,
    "rllib, per agent": partial(train_rllib, policies=("agent_0", "agent_1", "agent_2")),
    "rllib, values learn": partial(train_rllib, values_learn=True),
    "rllib, values learn and bootstrap": partial(train_rllib, values_learn=True, bootstraps=True),
    "rllib, our settings": partial(train_rllib, has_our_settings=True),
}


def evaluated(num_steps: int, logits: Logits) -> Point:
    likely, drawn = mean_return(logits, are_drawn=False), mean_return(logits, are_drawn=True)
    return Point(num_steps, likely, drawn)


def train(name: str, seed: int, num_steps: int, num_evaluations: int) -> dict[str, Any]:
    """Train in this process, and return the curve of evaluated returns and the CPU time of training."""
    training, trained_s = CONTENDERS[name](seed), 0.0
    steps, logits = next(training)  # imports and set-up
    curve = [evaluated(steps, logits)]
    while steps < num_steps:
        start_s = time.process_time()
        steps, logits = next(training)
        trained_s += time.process_time() - start_s
        if steps >= len(curve) * num_steps / num_evaluations:
            curve.append(evaluated(steps, logits))
            print(f"  {name}, seed {seed}: {curve[-1]}, {trained_s:.0f} CPU-s", file=sys.stderr, flush=True)
    return {"curve": curve, "cpu_s": trained_s}


def train_in_own_process(name: str, seed: int, num_steps: int, num_evaluations: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, "--first-seed", str(seed)]
    command += ["--steps", str(num_steps), "--evaluations", str(num_evaluations)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith('{"curve"')]
    result: dict[str, Any] = json.loads(line)
    return result | {"curve": [Point(*point) for point in result["curve"]]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--evaluations", type=int, default=5)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        result = train(given.child, given.first_seed, given.steps, given.evaluations)
        print(json.dumps(result), flush=True)
        return
    versions = {each: metadata.version(each) for each in ("mpe2", "pettingzoo", "ray", "torch", "numpy")}
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}")
    random_return = mean_return(uniform, are_drawn=True)
    print(f"uniformly random actions: {random_return:.1f}", flush=True)
    ends: dict[str, list[Point]] = {name: [] for name in given.contenders}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name in given.contenders:
            result = train_in_own_process(name, seed, given.steps, given.evaluations)
            ends[name].append(result["curve"][-1])
            curve = "  ".join(map(str, result["curve"]))
            print(f"{name:39} seed {seed}  {curve}  {result['cpu_s']:.0f} CPU-s", flush=True)
    for name, points in ends.items():
        likely, drawn = [point.likely for point in points], [point.drawn for point in points]
        print(
            f"{name:39} return {mean(likely):6.1f} [{min(likely):.1f}, {max(likely):.1f}], "
            f"gain over random {mean(likely) - random_return:5.1f}, of drawn actions {mean(drawn):6.1f}"
        )


if __name__ == "__main__":
    main()
