"""Kills something at random every few seconds while CartPole is learned, and counts what that cost.

    python tools/soak.py --minutes 10

Four runners, each with two environments in processes of their own, and two learner ranks train IMPALA or
PPO on this machine. A thread ends one of their processes after the other by SIGKILL: a runner, an
environment, a rank. At the end a table says what was killed and what was lost. The exit code is 0 if the
task was solved all the same and no process is left running, else 1.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from outrider.algorithm import Algorithm, APPOConfig, IMPALAConfig, PPOConfig

CONFIGS = {"appo": APPOConfig, "impala": IMPALAConfig, "ppo": PPOConfig}
OFTEN = {"runner": 6, "environment": 3, "rank": 1}
"""How often each is chosen. A rank costs most: all ranks are made anew."""
LOST = (
    "num_runner_restarts",
    "num_env_restarts",
    "num_learner_restarts",
    "num_lost_rows",
    "num_late_fragments",
    "num_lost_updates",
    "num_stale_rows",
)
NUM_LOOK_EPISODES, NUM_EPISODES = 20, 100
GONE_S = 15.0
"""Within this time after the end every process is gone."""


def descendants(pid: int) -> dict[int, int]:
    """Return the parent of each process below `pid` that has not ended."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    below: dict[int, int] = {}
    young = {pid}
    while young:
        children = {child: parent for child, parent in parents.items() if parent in young}
        below |= children
        young = set(children)
    return below


def title(pid: int) -> str:
    """Return how a process is called; Ray names its actors' ray::Class.method."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def victims() -> dict[str, list[int]]:
    """Return the processes of each kind that are up now."""
    below = descendants(os.getpid())
    titles = {pid: title(pid) for pid in below}
    runners = [pid for pid in below if titles[pid].startswith("ray::RunnerActor")]
    return {
        "runner": runners,
        "environment": [pid for pid in below if below[pid] in runners],
        "rank": [pid for pid in below if titles[pid].startswith("ray::RankActor")],
    }


class Killer:
    """Ends a process at random every few seconds, in a thread of its own."""

    def __init__(self, seed: int, shortest_s: float, longest_s: float) -> None:
        self.killed: Counter[str] = Counter()
        self._rng = random.Random(seed)  # noqa: S311 - chooses whom to kill
        self._pause_s = shortest_s, longest_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._kill, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _kill(self) -> None:
        while not self._stopped.wait(self._rng.uniform(*self._pause_s)):
            [kind] = self._rng.choices(list(OFTEN), list(OFTEN.values()))
            if found := victims()[kind]:
                with suppress(ProcessLookupError):
                    os.kill(self._rng.choice(found), signal.SIGKILL)
                    self.killed[kind] += 1


def build(name: str, num_learners: int, seed: int) -> Algorithm:
    config: Any = CONFIGS[name]()
    config.environment("CartPole-v1")
    config.env_runners(
        env_runner_backend="ray", num_env_runners=4, num_envs_per_env_runner=2, gym_env_vectorize_mode="async"
    )
    config.learners(num_learners=num_learners)
    config.training(lr=1e-3)
    config.debugging(seed=seed)
    algorithm: Algorithm = config.build()
    return algorithm


def train(algorithm: Algorithm, seconds: float, wanted: float) -> tuple[dict[str, Any], float]:
    """Train for so long; return the last metrics and the best evaluation."""
    metrics = algorithm.train()
    best, looked_at, start = float("-inf"), 0.0, time.monotonic()
    while (now := time.monotonic()) - start < seconds:
        metrics = algorithm.train()
        promising = metrics.get("recent_return_mean", 0.0) >= wanted / 2
        if best < wanted and promising and now - looked_at > 5:
            looked_at = now
            if algorithm.evaluate(NUM_LOOK_EPISODES)["episode_return_mean"] >= wanted:
                best = max(best, algorithm.evaluate(NUM_EPISODES)["episode_return_mean"])
                print(f"{now - start:6.0f} s: evaluated {best:.1f}", flush=True)
    return metrics, best


def left_over() -> list[str]:
    """Return the processes that are still there a while after the end."""
    deadline = time.monotonic() + GONE_S
    while (below := descendants(os.getpid())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"{pid} {title(pid)}" for pid in below]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--algorithm", choices=CONFIGS, default="impala")
    parser.add_argument("--num-learners", type=int, default=2)
    parser.add_argument("--pause-s", type=float, nargs=2, default=(2.0, 6.0), metavar=("LEAST", "MOST"))
    parser.add_argument("--wanted-return", type=float, default=450.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with build(given.algorithm, given.num_learners, given.seed) as algorithm:
        algorithm.train()
        with Killer(given.seed, *given.pause_s) as killer:
            metrics, best = train(algorithm, 60 * given.minutes, given.wanted_return)
        if best == float("-inf"):
            best = algorithm.evaluate(NUM_EPISODES)["episode_return_mean"]
    leaked = left_over()
    print(f"\n{given.algorithm}, {given.minutes:g} minutes, {metrics['num_env_steps']:,} environment steps")
    for kind in OFTEN:
        print(f"  killed {kind:12} {killer.killed[kind]:6}")
    for name in LOST:
        print(f"  {name:19} {metrics[name]:6,}")
    print(f"  evaluated return    {best:6.1f}, wanted {given.wanted_return:g}")
    print(f"  processes left      {len(leaked):6}", *leaked, sep="\n    ")
    return int(best < given.wanted_return or bool(leaked))


if __name__ == "__main__":
    sys.exit(main())
