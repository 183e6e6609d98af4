"""What several policies cost as they become more: an update, sampling, publishing and memory.

    python packages/algorithm/benchmarks/costs_by_policies.py --out docs/costs_by_policies [--policies 1 2]
    python packages/algorithm/benchmarks/costs_by_policies.py --out docs/costs_by_policies --draw

Writes OUT.csv and OUT.svg; with --draw the picture alone, from an earlier CSV. Each number of policies is
measured in processes of its own, one thread each: the update of 4 rows of each policy and what publishing
its weights takes (see `stacked_update.py` of the learner), a loop over policies that does the same, and a
run of PPO on CartPole-v1 that steps one copy for each policy. Times are CPU time: updates the smallest of
several, sampling that of the run's best iteration. Memory is the most that a process had, without what it
had before any policy was made.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything that computes is imported

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outrider.testing.machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable

LEARNER_BENCHMARKS = Path(__file__).parents[2] / "learner" / "benchmarks"
COLUMNS = ("policies", "update_ms", "loop_ms", "publish_ms", "sampling_us", "learner_mb", "run_mb")
COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 10_000]
NUM_ROWS = 4
NUMBER_BYTES, NUM_NUMBERS = 12, 9_797
"""What a policy's state takes: a weight and two moments for each of its numbers."""


def resident_mb(*, most: bool) -> float:
    """Return what this process has in memory, or the most that it had."""
    if most:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def best_ms(work: Callable[[], object], seconds: float) -> float:
    """Return the CPU time of the quickest of several calls, after one to warm up."""
    work()
    took: list[float] = []
    while sum(took) < seconds or len(took) < 2:
        begin = time.process_time()
        work()
        took.append(time.process_time() - begin)
    return min(took) * 1e3


def update(num_policies: int, seconds: float) -> dict[str, float]:
    """Measure our update, and publishing."""
    import numpy as np
    import stacked_update  # type: ignore[import-not-found]

    fragment = stacked_update.make_fragment(np.full(num_policies, NUM_ROWS))
    before = resident_mb(most=False)
    learner = stacked_update.make_learner(num_policies)
    update_ms = best_ms(lambda: learner.update([fragment]), seconds)
    held, took = learner.publish(), []
    for _ in range(5):
        learner.update([fragment])
        begin = time.process_time()
        held = learner.publish()  # while the weights before it are held
        took.append(time.process_time() - begin)
    del held
    return {
        "update_ms": update_ms,
        "publish_ms": min(took) * 1e3,
        "learner_mb": resident_mb(most=True) - before,
    }


def loop(num_policies: int, seconds: float) -> dict[str, float]:
    """Measure the loop over policies."""
    import numpy as np
    import stacked_update

    plain = stacked_update.PlainLoop(stacked_update.make_fragment(np.full(num_policies, NUM_ROWS)))
    return {"loop_ms": best_ms(plain.update, seconds)}


def run(num_policies: int, _: float) -> dict[str, float]:
    """Measure a few iterations of a run in one process."""
    import gymnasium  # noqa: F401 - what is imported is not what policies take
    import onnxruntime  # noqa: F401
    import torch  # noqa: F401

    from outrider.algorithm import PPOConfig

    before = resident_mb(most=False)
    names = [str(number) for number in range(num_policies)]
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .multi_agent(
            num_agents=1,
            policies=names,
            policy_mapping_fn=lambda _, episode: names[episode.environment % num_policies],
        )
        .env_runners(num_envs_per_env_runner=num_policies, gym_env_vectorize_mode="vector_entry_point")
        .training(train_batch_size_per_learner=16 * num_policies, minibatch_size=128, num_epochs=1)
    )
    algorithm = config.build()
    costs = []
    for _iteration in range(3):
        begin = time.process_time()
        result = algorithm.train()
        share = 1.0 - result["learner_s"] / result["iteration_s"]
        costs.append((time.process_time() - begin) * share / (16 * num_policies))
    algorithm.stop()
    return {"sampling_us": min(costs) * 1e6, "run_mb": resident_mb(most=True) - before}


PARTS = {"update": update, "loop": loop, "run": run}


def measured(num_policies: int, seconds: float) -> dict[str, float]:
    """Measure all of it, each in a process of its own."""
    row = {"policies": float(num_policies)}
    for part in PARTS:
        command = [sys.executable, __file__, "--part", part, "--policies", str(num_policies)]
        done = subprocess.run(
            [*command, "--seconds", str(seconds)], check=True, stdout=subprocess.PIPE, text=True
        )
        row |= json.loads(done.stdout.splitlines()[-1])
    return row


def draw(rows: list[dict[str, float]], path: Path, title: str) -> None:
    """Draw times and memory against the number of policies."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    times, ratios, memory = figure.subplots(1, 3)
    policies = [row["policies"] for row in rows]

    def line(axes: Any, values: list[float], label: str, **style: Any) -> None:  # noqa: ANN401 - of matplotlib
        axes.plot(policies, values, marker=".", linewidth=1.4, label=label, **style)

    line(times, [row["loop_ms"] for row in rows], "update, loop over policies", color="C7")
    line(times, [row["update_ms"] for row in rows], "update, stacked", color="C0")
    line(times, [row["publish_ms"] for row in rows], "publishing", color="C2")
    sampling_ms = [row["sampling_us"] * row["policies"] / 1e3 for row in rows]
    line(times, sampling_ms, "sampling, a step of each", color="C1")
    times.set(title="CPU ms", yscale="log")
    line(ratios, [row["loop_ms"] / row["update_ms"] for row in rows], "loop ÷ stacked", color="C0")
    ratios.axhline(1.0, color="C7", linewidth=0.8)
    ratios.set(title="update, loop ÷ stacked", yscale="log")
    line(memory, [row["run_mb"] for row in rows], "a run in one process", color="C3")
    line(memory, [row["learner_mb"] for row in rows], "learner, weights published", color="C0")
    state = [row["policies"] * NUMBER_BYTES * NUM_NUMBERS / 2**20 for row in rows]
    line(memory, state, "state: 12 bytes a number", color="C7", linestyle="--")
    memory.set(title="memory, MB", yscale="log")
    for axes in (times, ratios, memory):
        axes.set(xscale="log", xlabel="policies")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize="small")
    figure.suptitle(title, fontsize="small")
    figure.savefig(path, format="svg")


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policies", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU-seconds for each time")
    parser.add_argument("--out", type=Path, help="path without ending")
    parser.add_argument("--commit", default="", help="what stands in the picture")
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    parser.add_argument("--part", choices=PARTS, help="measure this alone, and print it as JSON")
    given = parser.parse_args()
    if given.part:
        sys.path.insert(0, str(LEARNER_BENCHMARKS))
        print(json.dumps(PARTS[given.part](given.policies[0], given.seconds)))
        return
    if given.out is None:
        parser.error("say where the figures go, by --out")
    table = given.out.with_suffix(".csv")
    if not given.draw:
        heading = f"# {machine('torch', 'numpy', 'onnxruntime', 'gymnasium')}; commit {given.commit}"
        with table.open("w", encoding="utf-8", newline="") as file:
            print(heading, file=file)
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for num_policies in given.policies:
                row = measured(num_policies, given.seconds)
                writer.writerow({name: f"{row[name]:.4g}" for name in COLUMNS})
                file.flush()
                print(row, flush=True)
    heading, *lines = table.read_text(encoding="utf-8").splitlines()
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    draw(rows, given.out.with_suffix(".svg"), heading.removeprefix("# "))


if __name__ == "__main__":
    main()
