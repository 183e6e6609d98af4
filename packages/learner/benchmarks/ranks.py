"""Two ranks against one on updates that are mostly arithmetic, on cores. Needs Ray.

    python packages/learner/benchmarks/ranks.py --rounds 7

Both are Ray actors with one thread each and train PPO on the same fragments, which lie in Ray's object
store: the same rows, and the same number of gradient steps over the same rows, half of them on each of
two ranks. A learner in this process, with one thread, stands beside them. All take turns.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch are imported

import argparse
import logging
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import ray
import torch

from outrider.learner import (
    LearnerGroup,
    LearnerGroupSettings,
    LearnerPlan,
    LocalLearnerGroup,
    OneRank,
    PPOSettings,
)
from outrider.learner.ray_groups.ray_learners import RayLearnerGroup
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import FragmentReference, LocalFragment
from outrider.transport.ray_references import put_fragment
from outrider.wire import BoxSpace, DiscreteSpace, EpisodeStatistics, Fragment, Streams

NUM_ACTIONS = 6


@dataclass(frozen=True, slots=True)
class Case:
    """A network and the rows of one update."""

    observations: BoxSpace
    module: ModuleSettings
    num_streams: int
    num_steps: int
    minibatch_size: int


CASES = {
    "mlp": Case(
        BoxSpace(low=np.full(128, -10, np.float32), high=np.full(128, 10, np.float32)),
        ModuleSettings(fcnet_hiddens=(1024, 1024)),
        num_streams=32,
        num_steps=128,
        minibatch_size=1024,
    ),
    "cnn": Case(
        BoxSpace(low=np.zeros((84, 84, 4), np.uint8), high=np.full((84, 84, 4), 255, np.uint8)),
        ModuleSettings(encoder="nature_cnn"),
        num_streams=8,
        num_steps=64,
        minibatch_size=256,
    ),
}
"""A wide MLP, and the Nature CNN on stacked frames."""


def make_fragments(case: Case) -> list[Fragment]:
    """Make the rows of an update, as four runners send them, in streams that nothing ended."""
    rng = np.random.default_rng(0)
    num_streams, shape = case.num_streams // 4, case.observations.low.shape
    num_rows = num_streams * case.num_steps
    return [
        Fragment(
            streams=Streams(
                lengths=np.full(num_streams, case.num_steps),
                policy=np.zeros(num_streams, np.int32),
                environment=np.arange(num_streams, dtype=np.int32) + runner * num_streams,
                agent=np.zeros(num_streams, np.int32),
            ),
            observations={"": _observations(rng, (num_rows, *shape), case)},
            actions={"": rng.integers(0, NUM_ACTIONS, num_rows)},
            rewards=rng.normal(size=num_rows).astype(np.float32),
            terminated=np.zeros(num_rows, np.bool_),
            truncated=np.zeros(num_rows, np.bool_),
            next_rows=np.arange(1, num_streams + 1) * case.num_steps - 1,
            next_observations={"": _observations(rng, (num_streams, *shape), case)},
            action_log_probs=np.full(num_rows, -np.log(NUM_ACTIONS), np.float32),
            policy_version=np.zeros(1, np.int64),
            episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
        )
        for runner in range(4)
    ]


def _observations(rng: np.random.Generator, shape: tuple[int, ...], case: Case) -> np.ndarray:
    if case.observations.low.dtype == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    return rng.normal(size=shape).astype(np.float32)


def plan(case: Case, num_learners: int, num_epochs: int) -> LearnerPlan:
    """Return learners whose gradient steps see the same rows, however many share them."""
    return LearnerPlan(
        algorithm="ppo",
        training=PPOSettings(
            minibatch_size=case.minibatch_size // max(1, num_learners), num_epochs=num_epochs
        ),
        policy=PolicyRecipe(
            observation_space=case.observations,
            action_space=DiscreteSpace(num_values=NUM_ACTIONS),
            settings=case.module,
            seed=0,
        ),
        settings=LearnerGroupSettings(num_learners=num_learners, num_updates_between_snapshots=1000),
        seed=0,
    )


def seconds(group: LearnerGroup, fragments: list[FragmentReference]) -> float:
    """Return how long one update takes, its weights included."""
    start = time.perf_counter()
    group.update(fragments)
    group.publish()
    return time.perf_counter() - start


def compare(name: str, case: Case, rounds: int, num_epochs: int) -> None:
    """Print one line for a case."""
    fragments = make_fragments(case)
    here: list[FragmentReference] = [LocalFragment(fragment) for fragment in fragments]
    stored: list[FragmentReference] = [put_fragment(fragment) for fragment in here]

    def ranks(number: int) -> LearnerGroup:
        return RayLearnerGroup(
            plan(case, number, num_epochs), num_learners=number, options=lambda _: {"num_cpus": 0}
        )

    with ExitStack() as stack:
        local = LocalLearnerGroup(plan(case, 0, num_epochs).make_learner(OneRank(), torch.device("cpu")))
        one, two = (stack.enter_context(closing(ranks(number))) for number in (1, 2))
        turns: dict[str, Callable[[], float]] = {
            "in process": lambda: seconds(local, here),
            "1 rank": lambda: seconds(one, stored),
            "2 ranks": lambda: seconds(two, stored),
        }
        times: dict[str, list[float]] = {each: [] for each in turns}
        for _ in range(rounds + 1):
            for each, turn in turns.items():
                times[each].append(turn())
    times = {each: values[1:] for each, values in times.items()}  # the first round warms up
    ratios = [slow / fast for slow, fast in zip(times["1 rank"], times["2 ranks"], strict=True)]
    num_rows = case.num_streams * case.num_steps
    print(f"{name:4} {num_rows} rows, {num_epochs} epochs, minibatches of {case.minibatch_size}")
    for each, values in times.items():
        print(f"     {each:10} {spread(values)} s")
    print(f"     1 rank / 2 ranks {spread(ratios)}", flush=True)


def spread(numbers: list[float]) -> str:
    """Median [min, max]."""
    return f"{statistics.median(numbers):.3f} [{min(numbers):.3f}, {max(numbers):.3f}]"


def main() -> None:
    """Compare the cases that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--num-epochs", type=int, default=2)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "numpy"))
    print(f"{os.cpu_count()} cores, load {load}; Python {platform.python_version()}, {versions}")
    ray.init(
        address="local",
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _system_config={"worker_niceness": 0},
    )
    for name in given.cases:
        compare(name, CASES[name], given.rounds, given.num_epochs)
    ray.shutdown()


if __name__ == "__main__":
    main()
