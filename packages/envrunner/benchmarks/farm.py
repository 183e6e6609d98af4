"""What it costs that runners are elsewhere, and what it saves that they need no Ray. Needs Ray and gRPC.

    python packages/envrunner/benchmarks/farm.py --rounds 5

Two comparisons, each interleaved: in every round all contenders have their turn, the others idle.

throughput  CartPole-v1 with 8 copies each: two runners of a farm over gRPC on the loopback interface,
            against two runners in processes of this machine, over a Unix socket
start       until two runners have delivered their first fragments and weights have been sent:
            processes of this machine, actors on a Ray that is up, and actors with the start of that Ray
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import logging
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version

import ray
from runners import Sample, compare, plan, race, spread

from outrider.envrunner import EnvironmentSettings
from outrider.envrunner.farm.process_runners import ProcessRunners
from outrider.envrunner.fleet.fleet import RunnerFleet
from outrider.envrunner.fleet.ray_runners import RayRunners
from outrider.envrunner.fleet.remote_runners import RemoteRunners
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.gateway import Gateway
from outrider.testing.mlp_graph import mlp_weights
from outrider.transport import LocalWeights
from outrider.transport.security import ServerSecurity

NUM_RUNNERS = 2


def two_runners(num_steps: int) -> RunnerPlan:
    """Return runners of 8 copies of CartPole; an update waits for both."""
    return plan(
        EnvironmentSettings("CartPole-v1"),
        num_steps,
        num_envs_per_env_runner=8,
        num_env_runners=NUM_RUNNERS,
        min_runners=NUM_RUNNERS,
    )


def sampler(stack: ExitStack, remote: RemoteRunners, what: RunnerPlan) -> Sample:
    """Start runners, which `stack` ends."""
    pool = stack.enter_context(closing(RunnerFleet(remote, what.settings, num_steps=what.num_steps)))
    weights = LocalWeights(mlp_weights(what.policy))  # type: ignore[arg-type] - a graph, see `plan`
    return lambda: sum(fragment.summary.num_rows for fragment in pool.sample(weights))


def processes(stack: ExitStack, what: RunnerPlan) -> Sample:
    """Start processes of this machine."""
    return sampler(stack, ProcessRunners(what, what.settings, num_runners=NUM_RUNNERS), what)


def actors(stack: ExitStack, what: RunnerPlan) -> Sample:
    """Start actors that reserve nothing."""
    return sampler(stack, RayRunners(what, num_runners=NUM_RUNNERS, options=lambda _: {"num_cpus": 0}), what)


def farm(stack: ExitStack, what: RunnerPlan) -> Sample:
    """Start a farm that dials a gateway here."""
    gateway = Gateway(
        what, what.settings, num_seats=NUM_RUNNERS, address="127.0.0.1:0", security=ServerSecurity()
    )
    command = [sys.executable, "-m", "outrider.envrunner.farm.farm_command", "--connect", gateway.address]
    process = subprocess.Popen(
        [*command, "--env", "CartPole-v1", "--runners", str(NUM_RUNNERS)], stdout=subprocess.DEVNULL
    )
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    return sampler(stack, gateway, what)


def first_fragments_s(start: Callable[[ExitStack, RunnerPlan], Sample], what: RunnerPlan) -> float:
    """Return the seconds until both runners have delivered, and end them."""
    with ExitStack() as stack:
        begun = time.perf_counter()
        num_steps = start(stack, what)()
        ended = time.perf_counter()
        assert num_steps == NUM_RUNNERS * what.num_rows
        return ended - begun


@contextmanager
def a_ray() -> Iterator[None]:
    """Start a Ray and end it."""
    ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def race_to_start(rounds: int) -> None:
    """Print how long each takes; the first, warming round is dropped."""
    what = two_runners(32)
    seconds: dict[str, list[float]] = {"processes": [], "Ray that is up": [], "Ray": []}
    for _ in range(rounds + 1):
        seconds["processes"].append(first_fragments_s(processes, what))
        begun = time.perf_counter()
        with a_ray():
            ray_s = time.perf_counter() - begun
            seconds["Ray that is up"].append(first_fragments_s(actors, what))
        seconds["Ray"].append(ray_s + seconds["Ray that is up"][-1])
    for name, each in seconds.items():
        print(f"{'start':10} {name} {spread(each[1:], '.2f')} s", flush=True)
    for name in ("Ray that is up", "Ray"):
        ratios = [one / other for one, other in zip(seconds[name], seconds["processes"], strict=True)]
        print(f"{'start':10} {name} / processes  ratio {spread(ratios[1:], '.2f')}", flush=True)


def main() -> None:
    """Run the comparisons that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="at least so long is a turn")
    parser.add_argument("--num-steps", type=int, default=512, help="vector steps of a fragment")
    comparisons = ("throughput", "start")
    parser.add_argument("--only", choices=comparisons, nargs="+", default=comparisons)
    given = parser.parse_args()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "grpcio", "gymnasium", "onnxruntime"))
    print(f"{os.cpu_count()} cores, load {load}; Python {platform.python_version()}, {versions}")
    if "throughput" in given.only:
        print("environment steps/s and their ratio, median [min, max]")
        with ExitStack() as stack:
            what = two_runners(given.num_steps)
            contenders = {"processes": processes(stack, what), "farm": farm(stack, what)}
            compare("throughput", race(contenders, given.rounds, given.seconds))
    if "start" in given.only:
        print("seconds until the first fragments, and their ratio, median [min, max]")
        race_to_start(given.rounds)


if __name__ == "__main__":
    main()
