"""How soon IMPALA and APPO solve CartPole-v1 from fragments that are late by a number of updates.

    python packages/algorithm/benchmarks/solved_when_late.py --late 0 1 2 4 --seeds 0 1 2

One runner with 10 environments samples fragments of 50 steps, one for each update, and the learner gets
the one that was acted in by the weights of `--late` updates before. Every 10,000 environment steps the
most likely action plays 10 episodes and, where their mean return is 450 or more, 20 others. What is
reported are the environment steps until both means were that high, seed by seed; > where they never were.
Everything is seeded and in one process: a run gives the same figures again, on the same kind of machine.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything that computes is imported

import argparse
import platform
from collections import deque
from contextlib import closing
from importlib import metadata
from itertools import count

import torch

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, LocalRunnerPool, RunnerPlan
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.policies.onnx_policy import OnnxPolicy
from outrider.envrunner.sampling.evaluation import evaluate
from outrider.learner import APPOSettings, IMPALASettings, LearnerGroupSettings, LearnerPlan, OneRank
from outrider.rlmodule import ModuleSettings, PolicyRecipe, export_graph
from outrider.transport import LocalWeights
from outrider.wire import Fragment, PolicyGraph

SETTINGS = {"impala": IMPALASettings, "appo": APPOSettings}
CARTPOLE = EnvironmentSettings("CartPole-v1")
RUNNER = EnvRunnerSettings(num_envs_per_env_runner=10)
NUM_STEPS = 50
ROWS_PER_UPDATE = NUM_STEPS * RUNNER.num_envs_per_env_runner
STEPS_BETWEEN_EVALUATIONS = 10_000
GOOD_RETURN = 450.0
EVALUATION_SEED = 10_000


def steps_to_solve(name: str, *, num_late: int, seed: int, limit: int) -> int | None:
    """Train until the policy is good, and return the environment steps; None where it is not by `limit`."""
    observation_space, action_space = spaces_of(CARTPOLE, "sync")
    recipe = PolicyRecipe(
        observation_space=observation_space, action_space=action_space, settings=ModuleSettings(), seed=seed
    )
    settings = LearnerGroupSettings()
    learner = LearnerPlan(
        algorithm=name, training=SETTINGS[name](), policy=recipe, settings=settings, seed=seed
    ).make_learner(OneRank(), torch.device("cpu"))
    graph = export_graph(recipe.build())
    plan = RunnerPlan(environment=CARTPOLE, settings=RUNNER, policy=graph, num_steps=NUM_STEPS, seed=seed)
    acting = OnnxPolicy(graph)
    under_way: deque[Fragment] = deque()
    with closing(LocalRunnerPool(plan.make_runner(0, 0))) as runners:
        for num_sampled in count(ROWS_PER_UPDATE, ROWS_PER_UPDATE):
            under_way += [each.load() for each in runners.sample(LocalWeights(learner.publish()))]
            if len(under_way) > num_late:
                learner.update([under_way.popleft()])
            if num_sampled % STEPS_BETWEEN_EVALUATIONS:
                continue
            acting.set_weights(learner.publish())
            if all(mean_return(acting, graph, num) >= GOOD_RETURN for num in (10, 20)):
                return num_sampled
            if num_sampled >= limit:
                return None
    raise AssertionError


def mean_return(acting: OnnxPolicy, graph: PolicyGraph, num_episodes: int) -> float:
    """Play the most likely action; other numbers of episodes are other episodes."""
    seed = EVALUATION_SEED * num_episodes
    played = evaluate(
        acting,
        CARTPOLE,
        action_heads=graph.action_heads,
        num_episodes=num_episodes,
        num_envs=num_episodes,
        seed=seed,
    )
    return float(played.returns.mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algorithms", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--late", nargs="+", type=int, default=[0, 1, 2, 4], metavar="UPDATES")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--limit", type=int, default=300_000, help="environment steps of a run at most")
    given = parser.parse_args()
    torch.set_num_threads(1)
    versions = ", ".join(f"{each} {metadata.version(each)}" for each in ("torch", "gymnasium"))
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions}")
    print("| late by |", *(f"{num_late} |" for num_late in given.late))
    print("| --- |", *("--- |" for _ in given.late))
    for name in given.algorithms:
        print(f"| {name} |", end="", flush=True)
        for num_late in given.late:
            steps = [
                steps_to_solve(name, num_late=num_late, seed=seed, limit=given.limit) for seed in given.seeds
            ]
            print("", ", ".join(in_thousands(each, given.limit) for each in steps), "|", end="", flush=True)
        print()


def in_thousands(steps: int | None, limit: int) -> str:
    return f"> {limit // 1000}k" if steps is None else f"{steps // 1000}k"


if __name__ == "__main__":
    main()
