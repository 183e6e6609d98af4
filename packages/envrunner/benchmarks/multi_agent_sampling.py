"""Sampling speed with several agents: the runner, loops over arrays written by hand, and RLlib.

The environment is CartPole-v1, so many independent copies that make one, stepped by Gymnasium's own vector
implementation; every policy has two tanh layers of 64. The loops step the same vector with the same
executor into arrays that they keep, and do no more: no streams, no episodes, no last observations, no
weights of another stack. One computes all agents in every step, the other those that act; where agents
end one by one, and wait for the others, the latter may be faster. The faster one is the bar. Every
contender has one thread and its turns in every round. Printed are medians [minimum, maximum] over the
rounds of agent steps per CPU-second (transitions; who waits does not count), and of the ratios within a
round.

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
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector, multi_agent_spaces
from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.policies.head_sampling import HeadSampling, head_sampling
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.stack_policy import StackPolicy
from outrider.testing.machine import machine
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


def loop_over_all(case: Case) -> Sample:
    """What one writes by hand where all act: arrays [step, agent, environment], made once, and a mask."""
    vector, policy, head, rng = _parts(case)
    rows = policy_rows(case)
    size = (case.num_steps, *rows.shape)
    observations, parameters = np.empty((*size, 4), np.float32), np.empty((*size, 2), np.float32)
    actions = np.empty(size, np.int64)
    rewards = np.empty((case.num_steps, case.num_envs, case.num_agents), np.float32)
    acting, terminated, truncated = (np.empty(rewards.shape, np.bool_) for _ in range(3))
    numbers = rows.ravel()
    is_sorted = case.num_policies == 1
    latest = vector.reset(list(range(case.num_envs)))

    def sample() -> int:
        nonlocal latest
        noise = head.noise(rng, case.num_steps, len(numbers))
        for step in range(case.num_steps):
            shown = latest.observations[0][""]
            observations[step] = shown if is_sorted else shown.swapaxes(0, 1)
            acting[step] = latest.acting
            chosen, _ = policy.act({"": observations[step].reshape(-1, 4)}, numbers, {})
            parameters[step] = chosen.reshape(*rows.shape, 2)
            actions[step] = head.sample(chosen, noise[step]).reshape(rows.shape)
            latest = vector.step([{"": actions[step] if is_sorted else actions[step].T}])
            rewards[step] = latest.rewards
            terminated[step] = latest.terminated
            truncated[step] = latest.truncated
        head.log_probs(parameters, actions)
        return int(np.count_nonzero(acting))

    return sample


def loop_over_acting(case: Case) -> Sample:
    """What one writes by hand where many wait: the rows of those that act, one step after the other."""
    vector, policy, head, rng = _parts(case)
    numbers = policy_rows(case)
    is_sorted = case.num_policies == 1 or case.num_envs == 1
    places = np.arange(case.num_envs * case.num_agents)
    if not is_sorted:
        places = places.reshape(case.num_envs, -1).T.ravel()
    numbers = numbers.ravel()
    size = case.num_steps * len(places)
    observations, parameters = np.empty((size, 4), np.float32), np.empty((size, 2), np.float32)
    actions, slots = np.empty(size, np.int64), np.empty(size, np.intp)
    rewards = np.empty(size, np.float32)
    terminated, truncated = np.empty(size, np.bool_), np.empty(size, np.bool_)
    everybody = np.zeros((case.num_envs, case.num_agents), np.int64)
    latest = vector.reset(list(range(case.num_envs)))

    def sample() -> int:
        nonlocal latest
        noise = head.noise(rng, 1, size)[0]
        stop = 0
        for _ in range(case.num_steps):
            acts = latest.acting.ravel() if is_sorted else latest.acting.T.ravel()
            if np.count_nonzero(acts) == len(acts):
                here, policies = places, numbers
            else:
                here, policies = places[acts], numbers[acts]
            start, stop = stop, stop + len(here)
            now = slice(start, stop)
            latest.observations[0][""].reshape(-1, 4).take(here, 0, out=observations[now], mode="clip")
            slots[now] = here
            parameters[now], _ = policy.act({"": observations[now]}, policies, {})
            actions[now] = head.sample(parameters[now], noise[now])
            everybody.reshape(-1)[here] = actions[now]
            latest = vector.step([{"": everybody}])
            latest.rewards.reshape(-1).take(here, out=rewards[now], mode="clip")
            latest.terminated.reshape(-1).take(here, out=terminated[now], mode="clip")
            latest.truncated.reshape(-1).take(here, out=truncated[now], mode="clip")
        head.log_probs(parameters[:stop], actions[:stop])
        return stop

    return sample


def policy_rows(case: Case) -> NDArray[np.int32]:
    """Return the policy of every row of a step, ascending: [A, E], or [E, A] where there is one policy."""
    if case.num_policies == 1:
        return np.zeros((case.num_envs, case.num_agents), np.int32)
    policies = np.arange(case.num_agents, dtype=np.int32) % case.num_policies
    return np.repeat(policies[:, None], case.num_envs, 1)


def _parts(case: Case) -> tuple[MultiAgentVector, StackPolicy, HeadSampling, np.random.Generator]:
    """Make what the loops share with the runner: its vector, its executor and how it draws actions."""
    vector = make_multi_agent_vector(
        ENVIRONMENT, case.settings, num_envs=case.num_envs, num_agents=case.num_agents, on_failure=_give_up
    )
    graph = case.graph()
    policy = StackPolicy(graph, "mlp")
    policy.set_weights(stacked_mlp_weights(graph, "mlp", range(case.num_policies)))
    return vector, policy, head_sampling(graph.action_heads[0]), np.random.default_rng(0)


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
    """Return steps per CPU-second of each contender in each round; the first, warming round is dropped.

    Within a round they take turns, fragment by fragment, each until it has had its seconds.
    """
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        num_rows, cpu_s = dict.fromkeys(contenders, 0), dict.fromkeys(contenders, 0.0)
        while min(cpu_s.values()) < seconds:
            for name, sample in contenders.items():
                if cpu_s[name] < seconds:
                    start = process_time()
                    num_rows[name] += sample()
                    cpu_s[name] += process_time() - start
        for name in contenders:
            speeds[name].append(num_rows[name] / cpu_s[name])
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
    print(machine("gymnasium", "numpy", "onnxruntime", "ray", "torch"))
    for case in (CASES[index] for index in arguments.cases):
        contenders = {
            "runner": runner(case),
            "loop over all": loop_over_all(case),
            "loop over those that act": loop_over_acting(case),
        }
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
            print(f"  {name:24} {spread(each, '10,.0f')}{ratio}", flush=True)


def _give_up(_: int, error: BaseException) -> int:
    raise error


if __name__ == "__main__":
    main()
