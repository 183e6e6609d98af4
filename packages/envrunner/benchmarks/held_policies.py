"""What a runner costs that plays few of many policies: bytes sent to it, its memory, and its speed.

A runner in a process of its own has 32 copies of an environment of two agents, so that 64 policies play at a
time; each episode draws others. Every policy (two layers of 64, 18 kB) changes with every update. "all" holds
every policy, as runners without a bound do; "held" those that play and as many again.

The speed is that of two runners in this process whose 64 policies stay, one that holds whatever it is given
and one with a bound, in turn: what looking after held policies costs where none is fetched.

The waits are those of a runner in this process for policies of matchups, of which it knows who plays next,
and where a function draws the same ones, of which it does not; each answer takes --trip-ms.

    python packages/envrunner/benchmarks/held_policies.py --policies 1000 10000 --updates 4 --rounds 20
"""

from __future__ import annotations

# ruff: noqa: ANN401, E402 - messages are handed on; NumPy reads how many threads there are
import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import platform
import statistics
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerFleet
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.farm.process_runners import ProcessRunners
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.envrunner.policies.some_policies import of_policies
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.transport import LocalWeights
from outrider.transport.stream_connection import StreamConnection
from outrider.wire import Weights

CARTPOLE = EnvironmentSettings("CartPole-v1")
GRAPH = stacked_mlp_graph(*spaces_of(CARTPOLE, "sync"), num_hidden=64)
NUM_ENVS, NUM_AGENTS, NUM_STEPS = 32, 2, 64


def plan_of(num_policies: int, at_most: int | None, mapping: Callable[[str, Episode], str]) -> MultiAgentPlan:
    """Return the plan of a runner that holds so many."""
    return MultiAgentPlan(
        environment=CARTPOLE,
        settings=EnvRunnerSettings(
            num_env_runners=1, num_envs_per_env_runner=NUM_ENVS, max_policies_per_env_runner=at_most
        ),
        agents=tuple(str(agent) for agent in range(NUM_AGENTS)),
        num_agents=NUM_AGENTS,
        stacks=(StackPlan(name="mlp", policy=GRAPH),),
        policies=tuple(
            PolicyEntry(name=str(number), number=number, stack="mlp") for number in range(num_policies)
        ),
        mapping=mapping,
        num_steps=NUM_STEPS,
        seed=1,
    )


def weights_of(num_policies: int) -> Weights:
    """Return weights of all; equal ones, because nobody looks."""
    one = stacked_mlp_weights(GRAPH, "mlp", [0])
    stack = replace(
        one.stacks[0],
        policies=np.arange(num_policies, dtype=np.int32),
        versions=np.zeros(num_policies, np.int64),
    )
    tensors = {name: np.repeat(tensor, num_policies, 0) for name, tensor in one.tensors.items()}
    return replace(one, tensors=tensors, stacks=(stack,))


def at_version(weights: Weights, version: int) -> LocalWeights:
    """Let all have changed."""
    (stack,) = weights.stacks
    changed = replace(stack, versions=np.full(len(stack.policies), version, np.int64))
    return LocalWeights(replace(weights, version=version, stacks=(changed,)))


class Counter:
    """Counts the bytes that a gateway sends to runners."""

    def __init__(self) -> None:
        self.num_bytes = 0
        send = self._send = StreamConnection.send

        def counted(to: StreamConnection, head: Any, pieces: Sequence[Any] = ()) -> None:
            self.num_bytes += sum(memoryview(piece).nbytes for piece in pieces)
            send(to, head, pieces)

        StreamConnection.send = counted  # type: ignore[method-assign]

    def close(self) -> None:
        StreamConnection.send = self._send  # type: ignore[method-assign]


def bytes_and_memory(num_policies: int, at_most: int | None, num_updates: int) -> tuple[float, float, float]:
    """Return MB sent for the first update, for each later one, and MB resident in the end."""

    def drawn(_: str, episode: Episode) -> str:
        return str(episode.rng.integers(num_policies))

    plan = plan_of(num_policies, at_most, drawn)
    remote = ProcessRunners(plan, plan.settings, num_runners=1)
    weights, sent = weights_of(num_policies), []
    with (
        closing(RunnerFleet(remote, plan.settings, num_steps=NUM_STEPS)) as fleet,
        closing(Counter()) as counter,
    ):
        for version in range(num_updates):
            before = counter.num_bytes
            fleet.sample(at_version(weights, version))
            sent.append((counter.num_bytes - before) / 1e6)
        me = os.getpid()
        (runner,) = Path(f"/proc/{me}/task/{me}/children").read_text().split()
        resident = resident_mb(runner)
    return sent[0], statistics.median(sent[1:]), resident


def resident_mb(pid: str) -> float:
    """Return what a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


def speed(num_rounds: int) -> list[float]:
    """Return the ratios of CPU time, without a bound to with one, where all that play are held."""
    num_policies = NUM_ENVS * NUM_AGENTS

    def fixed(agent: str, episode: Episode) -> str:
        return str(episode.environment * NUM_AGENTS + int(agent))

    weights = weights_of(num_policies)
    plan = plan_of(num_policies, None, fixed)
    free = plan.make_runner(0, 0)
    bound = plan.make_runner(0, 0, lambda *_: at_version(weights, 0).load())
    ratios = []
    for version in range(num_rounds + 3):
        taken = []
        for runner in (free, bound):
            runner.set_weights(at_version(weights, version).load())
            start = process_time()
            runner.sample()
            taken.append(process_time() - start)
        ratios.append(taken[0] / taken[1])
    free.close()
    bound.close()
    return ratios[3:]


def waits(num_envs: int, trip_s: float, *, is_known: bool) -> tuple[float, float]:
    """Return requests for policies for each fragment, and the share of its time that waits for them take."""
    num_policies, num_fragments = 1000, 10
    pairs = np.random.default_rng(0).integers(num_policies, size=(2 * num_policies, NUM_AGENTS))
    matchups = Matchups([(1.0, {"0": str(one), "1": str(other)}) for one, other in pairs])
    mapping = MatchupMapping(matchups, ("0", "1"), {str(number): number for number in range(num_policies)})

    def drawn(agent: str, episode: Episode) -> str:
        same = Episode(id_="", environment=0, number=0, seed=episode.seed)
        return str(mapping.assign(same)[int(agent)])

    def fetch(wanted: Any, _: Any) -> Weights:
        waited.append(perf_counter())
        sleep(trip_s)
        found = of_policies(newest, wanted)
        waited[-1] = perf_counter() - waited[-1]
        return found

    plan = plan_of(num_policies, None, drawn)
    settings = replace(plan.settings, num_envs_per_env_runner=num_envs)
    runner = replace(plan, settings=settings, mapping=matchups if is_known else drawn).make_runner(
        0, 0, fetch
    )
    waited: list[float] = []
    weights, start = weights_of(num_policies), 0.0
    for version in range(num_fragments + 2):
        if version == 2:  # all begin at once in the first
            waited.clear()
            start = perf_counter()
        newest = at_version(weights, version).load()
        runner.set_weights(of_policies(newest, runner.held))
        runner.sample()
    share = sum(waited) / (perf_counter() - start)
    runner.close()
    return len(waited) / num_fragments, share


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--policies", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--trip-ms", type=float, nargs="*", default=[1.0, 20.0])
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"{'policies':>9} {'':>5} {'first update':>14} {'each later':>12} {'resident':>10}")
    for num_policies in given.policies:
        for name, at_most in (("all", num_policies), ("held", None)):
            first, later, resident = bytes_and_memory(num_policies, at_most, given.updates)
            print(
                f"{num_policies:>9} {name:>5} {first:>11.1f} MB {later:>9.1f} MB {resident:>7.0f} MB",
                flush=True,
            )
    if given.rounds:
        ratios = speed(given.rounds)
        print(
            f"speed with a bound / without, all held: {statistics.median(ratios):.3f} "
            f"[{min(ratios):.3f}, {max(ratios):.3f}]"
        )
    for trip_ms in given.trip_ms:
        for num_envs in (2, 8, 32):
            (before, waited), (after, waits_now) = (
                waits(num_envs, trip_ms / 1e3, is_known=is_known) for is_known in (False, True)
            )
            print(
                f"{num_envs} environments, {trip_ms:g} ms: {before:.1f} requests for a fragment, "
                f"{waited:.0%} of its time; who plays next is known: {after:.1f}, {waits_now:.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
