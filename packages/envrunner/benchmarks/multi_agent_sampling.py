"""Sampling speed with several agents: the runner, a hand-written array loop, and RLlib where it is installed.

The environment is CartPole-v1, so many independent copies that make one, stepped by Gymnasium's own vector
implementation; every policy has two tanh layers of 64. The loop steps the same vector with the same
executor, and keeps planes [step, agent] with a mask and no more: no streams, no episodes, no weights of
another stack. Every contender has one thread and its turn in every round. Printed are medians
[minimum, maximum] over the rounds of agent steps per CPU-second (transitions; who waits does not count),
and of the ratios within a round.

    python packages/envrunner/benchmarks/multi_agent_sampling.py --rounds 5 --seconds 1

RLlib takes minutes to make 1,000 policies, so it samples with more than 100 only if it is told to.
"""

from __future__ import annotations

# ruff: noqa: E402 - the number of threads is read when NumPy and torch are imported
import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before NumPy and torch are imported

import argparse
import importlib.metadata
import importlib.util
import platform
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import gymnasium as gym
import numpy as np

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.head_sampling import head_sampling
from outrider.envrunner.matchups import Matchups
from outrider.envrunner.multi_agent_environment import make_multi_agent_vector, multi_agent_spaces
from outrider.envrunner.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.policy_entry import PolicyEntry
from outrider.envrunner.spaces import space_from_gymnasium
from outrider.envrunner.stack_policy import StackPolicy
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.wire import PolicyGraph, all_parts

ENVIRONMENT = EnvironmentSettings("CartPole-v1")
Sample = Callable[[], int]
"""Samples a fragment's worth and returns the number of transitions."""


@dataclass(frozen=True, slots=True)
class Case:
    """So many agents in an environment, played by so many policies."""

    num_agents: int
    num_policies: int
    num_envs: int
    num_steps: int

    def __str__(self) -> str:
        """Say it."""
        return f"{self.num_agents} agents, {self.num_policies} policies, {self.num_envs} environments"

    @property
    def settings(self) -> EnvRunnerSettings:
        """Of the runner."""
        return EnvRunnerSettings(
            num_envs_per_env_runner=self.num_envs, gym_env_vectorize_mode="vector_entry_point"
        )

    def graph(self) -> PolicyGraph:
        """Make the network."""
        _, groups, _ = multi_agent_spaces(ENVIRONMENT, self.settings, self.num_agents)
        return stacked_mlp_graph(
            space_from_gymnasium(groups[0].observation_space), space_from_gymnasium(groups[0].action_space)
        )


CASES = (Case(2, 2, 32, 64), Case(100, 1, 8, 32), Case(100, 100, 8, 32), Case(1000, 1000, 1, 32))


def runner(case: Case) -> Sample:
    """Our runner."""
    names = [f"policy {number}" for number in range(case.num_policies)]
    agents, _, _ = multi_agent_spaces(ENVIRONMENT, case.settings, case.num_agents)
    graph = case.graph()
    plan = MultiAgentPlan(
        environment=ENVIRONMENT,
        settings=case.settings,
        agents=tuple(agents),
        num_agents=case.num_agents,
        stacks=(StackPlan(name="mlp", policy=graph),),
        policies=tuple(
            PolicyEntry(name=name, number=number, stack="mlp") for number, name in enumerate(names)
        ),
        mapping=Matchups(
            [(1.0, {agent: names[slot % case.num_policies] for slot, agent in enumerate(agents)})]
        ),
        num_steps=case.num_steps,
        seed=0,
    )
    sampling = plan.make_runner(0, 0)
    sampling.set_weights(stacked_mlp_weights(graph, "mlp", range(case.num_policies)))
    return lambda: sum(part.num_rows for part in all_parts(sampling.sample()))


def hand_loop(case: Case) -> Sample:
    """A minimal loop over the runner's vector: all agents are computed in every step, whoever acts."""
    vector = make_multi_agent_vector(
        ENVIRONMENT, case.settings, num_envs=case.num_envs, num_agents=case.num_agents, on_failure=_give_up
    )
    graph = case.graph()
    policy = StackPolicy(graph, "mlp")
    policy.set_weights(stacked_mlp_weights(graph, "mlp", range(case.num_policies)))
    numbers = np.repeat(np.arange(case.num_agents) % case.num_policies, case.num_envs).astype(np.int32)
    head = head_sampling(graph.action_heads[0])
    rng = np.random.default_rng(0)
    size = (case.num_steps, case.num_agents, case.num_envs)
    latest = vector.reset(list(range(case.num_envs)))

    def sample() -> int:
        nonlocal latest
        observations, parameters = np.empty((*size, 4), np.float32), np.empty((*size, 2), np.float32)
        actions, rewards = np.empty(size, np.int64), np.empty(size, np.float32)
        acting, terminated, truncated = (np.empty(size, np.bool_) for _ in range(3))
        noise = head.noise(rng, case.num_steps, len(numbers))
        for step in range(case.num_steps):
            observations[step] = latest.observations[0][""].swapaxes(0, 1)
            acting[step] = latest.acting.T
            chosen, _ = policy.act({"": observations[step].reshape(-1, 4)}, numbers, {})
            parameters[step] = chosen.reshape(*size[1:], 2)
            actions[step] = head.sample(chosen, noise[step]).reshape(size[1:])
            latest = vector.step([{"": actions[step].T}])
            rewards[step] = latest.rewards.T
            terminated[step], truncated[step] = latest.terminated.T, latest.truncated.T
        head.log_probs(parameters, actions)
        return int(acting.sum())

    return sample


def rllib(case: Case) -> Sample:
    """RLlib's runner in the calling process, with the same network."""
    import torch
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
    from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole

    torch.set_num_threads(1)
    config = (
        PPOConfig()
        .environment(MultiAgentCartPole, env_config={"num_agents": case.num_agents})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=case.num_envs)
        .multi_agent(
            policies={f"p{number}" for number in range(case.num_policies)},
            policy_mapping_fn=lambda agent, *_, **__: f"p{int(agent) % case.num_policies}",
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh"))
    )
    sampling = MultiAgentEnvRunner(config=config)
    num_steps = case.num_steps * case.num_envs
    return lambda: sum(episode.agent_steps() for episode in sampling.sample(num_timesteps=num_steps))


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
    """Race all contenders and print a block for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU-seconds of a contender in a round")
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))))
    parser.add_argument("--rllib-policies", type=int, default=100, help="most policies that RLlib makes")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    gym.logger.min_level = gym.logger.ERROR
    with_rllib = importlib.util.find_spec("ray") is not None and importlib.util.find_spec("torch") is not None
    _print_machine(with_rllib=with_rllib)
    for case in (CASES[index] for index in arguments.cases):
        contenders = {"runner": runner(case), "hand loop": hand_loop(case)}
        if with_rllib and case.num_policies <= arguments.rllib_policies:
            try:
                contenders["RLlib"] = rllib(case)
            except ImportError as error:
                print(f"without RLlib: {error}")
                with_rllib = False
        speeds = race(contenders, arguments.rounds, arguments.seconds)
        print(f"\n{case}")
        for name, each in speeds.items():
            ratios = [ours / theirs for ours, theirs in zip(speeds["runner"], each, strict=True)]
            ratio = "" if name == "runner" else f"   runner / this: {spread(ratios, '.2f')}"
            print(f"  {name:10} {spread(each, '10,.0f')}{ratio}", flush=True)


def _give_up(_: int, error: BaseException) -> int:
    raise error


def _print_machine(*, with_rllib: bool) -> None:
    names = ["gymnasium", "numpy", "onnxruntime"] + (["ray", "torch"] if with_rllib else [])
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"{_processor()}, {os.cpu_count()} cores, load {load}; Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
