"""P policies with an LSTM each: stacked, against one learner and one acting policy for each.

    python packages/algorithm/benchmarks/recurrent_policies.py [--policies 100 1000] [--rounds 5]

An update is one of PPO, from fragments to new weights: one epoch over `--streams` streams of `--steps` rows
of each policy, whose sequences are as long, in one minibatch. A step is one of acting, of `--streams` agents
of each policy: from observations and recurrent states to action parameters and next states, in ONNX Runtime.
Both sides compute the same with the same weights, and take turns in one process with one thread.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from outrider.envrunner.policies.onnx_policy import OnnxPolicy
from outrider.envrunner.policies.sole_policy import SolePolicy
from outrider.envrunner.policies.stack_policy import StackPolicy
from outrider.learner import PPOSettings
from outrider.learner.plans.multi_agent_plan import StackPlan
from outrider.learner.stacks.multi_agent_learner import MultiAgentLearner
from outrider.rlmodule import ModuleSettings, PolicyRecipe, export_graph, export_stacked_graph
from outrider.wire import BoxSpace, DiscreteSpace, EpisodeStatistics, Fragment, Streams, take_policies

NUM_OBSERVATIONS, NUM_ACTIONS = 8, 4
SPACE = BoxSpace(low=np.full(NUM_OBSERVATIONS, -np.inf, "f4"), high=np.full(NUM_OBSERVATIONS, np.inf, "f4"))
CPU = torch.device("cpu")
ENOUGH_S = 0.05


def recipe(size: int) -> PolicyRecipe:
    """Make an encoder and an LSTM of one width for the policy, and as much for the value."""
    return PolicyRecipe(
        observation_space=SPACE,
        action_space=DiscreteSpace(num_values=NUM_ACTIONS),
        settings=ModuleSettings(use_lstm=True, fcnet_hiddens=(size,), lstm_cell_size=size),
        seed=0,
    )


def make_fragment(made: PolicyRecipe, num_policies: int, num_streams: int, num_steps: int) -> Fragment:
    """Make streams of each policy, none of which ends."""
    rng = np.random.default_rng(0)
    total = num_policies * num_streams
    num_rows = total * num_steps
    spec = made.build().state_spec
    return Fragment(
        streams=Streams(
            lengths=np.full(total, num_steps),
            policy=np.repeat(np.arange(num_policies, dtype=np.int32), num_streams),
            environment=np.arange(total, dtype=np.int32),
            agent=np.zeros(total, np.int32),
            state={name: rng.normal(size=(total, *one.shape)).astype("f4") for name, one in spec.items()},
        ),
        observations={"": rng.normal(size=(num_rows, NUM_OBSERVATIONS)).astype("f4")},
        actions={"": rng.integers(0, NUM_ACTIONS, num_rows)},
        rewards=rng.normal(size=num_rows).astype("f4"),
        terminated=np.zeros(num_rows, bool),
        truncated=np.zeros(num_rows, bool),
        next_rows=np.arange(1, total + 1) * num_steps - 1,
        next_observations={"": rng.normal(size=(total, NUM_OBSERVATIONS)).astype("f4")},
        action_log_probs=np.full(num_rows, np.log(1.0 / NUM_ACTIONS), "f4"),
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(returns=np.zeros(0, "f4"), lengths=np.zeros(0, np.int64)),
    )


def learners(
    made: PolicyRecipe, num_policies: int, num_streams: int, num_steps: int
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what an update is for either side."""
    training = PPOSettings(num_epochs=1, minibatch_size=num_streams * num_steps, max_seq_len=num_steps)

    def learner(name: str, numbers: range, *, is_stacked: bool) -> Any:  # noqa: ANN401 - a StackLearner
        plan = StackPlan(
            name=name, policy=made, training=training, seeds=dict.fromkeys(numbers, 0), is_stacked=is_stacked
        )
        return plan.make_learner("ppo", seed=0, device=CPU)

    together = MultiAgentLearner({"all": learner("all", range(num_policies), is_stacked=True)})
    each = {f"{n}": learner(f"{n}", range(n, n + 1), is_stacked=False) for n in range(num_policies)}
    alone = MultiAgentLearner(each)
    fragment = make_fragment(made, num_policies, num_streams, num_steps)
    first, *others = (take_policies(fragment, [n]) for n in range(num_policies))
    parted = replace(first, others=tuple(others))
    return lambda: together.update([fragment]), lambda: alone.update([parted])


def actors(
    made: PolicyRecipe, num_policies: int, num_streams: int
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what a step is for either side."""
    training = PPOSettings()
    seeds = dict.fromkeys(range(num_policies), 0)
    plan = StackPlan(name="all", policy=made, training=training, seeds=seeds)
    weights = plan.make_learner("ppo", seed=0, device=CPU).publish()
    stacked = StackPolicy(export_stacked_graph(made.build()), "all")
    stacked.set_weights(weights)
    plain = export_graph(made.build())
    each = [
        SolePolicy(OnnxPolicy(plain), "all", n, observation_space=SPACE, action_heads=plain.action_heads)
        for n in range(num_policies)
    ]
    for one in each:
        one.set_weights(weights)
    rng = np.random.default_rng(0)
    num_rows = num_policies * num_streams
    observations = {"": rng.normal(size=(num_rows, NUM_OBSERVATIONS)).astype("f4")}
    state = {n: np.zeros((num_rows, *spec.shape), spec.dtype) for n, spec in plain.state.items()}
    numbers = np.repeat(np.arange(num_policies, dtype=np.int32), num_streams)
    parts = [
        (
            one,
            {path: column[start : start + num_streams] for path, column in observations.items()},
            numbers[start : start + num_streams],
            {name: column[start : start + num_streams] for name, column in state.items()},
        )
        for one, start in zip(each, range(0, num_rows, num_streams), strict=True)
    ]
    return lambda: stacked.act(observations, numbers, state), lambda: [one.act(*part) for one, *part in parts]


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of a call, repeated until they can be measured."""
    num_calls, cpu = 0, time.process_time()
    while not num_calls or time.process_time() - cpu < ENOUGH_S:
        work()
        num_calls += 1
    return (time.process_time() - cpu) / num_calls


def compare(name: str, stacked: Callable[[], object], alone: Callable[[], object], rounds: int) -> None:
    """Print one line: both sides and the ratio of each round; a round before warms up."""
    pairs = [(seconds(stacked), seconds(alone)) for _ in range(rounds + 1)][1:]
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    ratios = [b / a for a, b in pairs]
    print(
        f"{name:28} stacked {spread(ours, 1e3)} ms  one by one {spread(theirs, 1e3)} ms  "
        f"ratio {spread(ratios)}",
        flush=True,
    )


def spread(numbers: list[float], scale: float = 1.0) -> str:
    """Median [min, max]."""
    low, middle, high = (f(numbers) * scale for f in (min, statistics.median, max))
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Print two lines for each number of policies."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--policies", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--size", type=int, default=32, help="width of encoders and LSTMs")
    parser.add_argument("--streams", type=int, default=4, help="streams, and agents, of each policy")
    parser.add_argument("--steps", type=int, default=20, help="rows of a stream")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of both sides")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    print(f"{models[0] if models else platform.machine()}, 1 thread")
    print("CPU time and its ratio, median [min, max]")
    made = recipe(given.size)
    for num_policies in given.policies:
        sizes = num_policies, given.streams
        compare(f"P = {num_policies}, update", *learners(made, *sizes, given.steps), given.rounds)
        compare(f"P = {num_policies}, acting step", *actors(made, *sizes), given.rounds)


if __name__ == "__main__":
    main()
