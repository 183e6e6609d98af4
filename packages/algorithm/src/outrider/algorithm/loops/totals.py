"""What an algorithm has done so far, and the metrics of one iteration.

What begins with num_ counts from the beginning of the run, over every interruption;
shares, seconds and ages are those of this iteration.

iteration               iterations of collect, learn, publish so far
num_env_steps           environment steps so far
num_agent_steps         actions of all agents so far; absent where there is one agent
num_episodes            episodes that have ended so far
num_updates             updates of the learners so far
time_s                  seconds spent training so far, interruptions not counted
episode_return_mean     over the last 100 training episodes whose return is finite, as are _min and _max;
                        nan before the first one ended, which is null in progress.jsonl
episode_length_mean     likewise
recent_return_mean      likewise, over the last 20
iteration_s             seconds of this iteration
env_steps_per_s         of this iteration
agent_steps_per_s       likewise, actions of all agents; absent where there is one agent
environment_s           seconds of this iteration spent stepping environments, mean over runners
policy_s                likewise, choosing actions
learner_s               likewise, learning, mean over learners
rest_s                  what none of these three took; 0 where runners and learners work side by side
runner_work_share       share of this iteration, 0 to 1, in which runners worked, mean over runners
runner_wait_share       likewise, waited
learner_work_share      likewise, in which learners learned, mean over learners
learner_wait_share      likewise, waited for fragments
queue_depth             fragments that lay waiting when an update began, mean over updates; this and what
                        follows is absent where learners take no fragments by themselves
staleness_mean          versions by which fragments were older than the learner that took them
staleness_max           likewise, the oldest
staleness_histogram     number of fragments that were 0, 1, 2, ... versions old; the last counts all older
bottleneck              a sentence that names the dial to turn, from the last ten iterations
cores_busy_share        share of this iteration in which the cores of this machine worked, for this run or
                        for others; absent where the system does not say
num_env_runners         the exception: runners that are up now, that of this process included
num_farm_runners        likewise, of farms; this and the next five are absent where no farm may connect
num_joined              runners of farms that joined, those that came back without their session included
num_left                runners of farms that left, or were lost
num_refused             peers that did not fit: another protocol, other spaces
num_cut_off             peers that were sent away because they broke a rule
num_duplicates          fragments that came again after a connection broke, and were dropped
num_runner_restarts     runners made anew because their process ended or did not answer
num_late_fragments      fragments that an update did not wait for; they came with a later one
num_env_restarts        environments rebuilt
num_lost_rows           rows lost with a runner's process, an environment or a node
num_stale_rows          rows thrown away because they were older than `max_staleness`
num_learner_restarts    how often the learners were made anew because one of them ended
num_lost_updates        updates that were undone by that
learner/...             what the learner measured; with several policies, means over their rows

Where there are several agents, a return is the sum over all of them, and what their policies do follows
(see `outrider.algorithm.policies.policy_returns`).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from outrider.algorithm.loops import farm_counts
from outrider.algorithm.loops.bottleneck import bottleneck
from outrider.algorithm.loops.cores import BusyCores
from outrider.algorithm.loops.shares import shares_of
from outrider.envrunner import PoolStatistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.algorithm.loops.iteration import Iteration
    from outrider.algorithm.settings.run_settings import RunSettings

NUM_EPISODES = 100
"""Training returns are averaged over this many episodes, as is usual."""
NUM_RECENT_EPISODES = 20
NUM_SMOOTHED = 10
"""Iterations over which the bottleneck is looked for."""
NUM_AGES = 64
"""Ages that a staleness histogram tells apart."""
AGENT_STEPS = "num_agent_steps"
COUNTED = (
    "num_env_steps",
    AGENT_STEPS,
    "num_episodes",
    "num_updates",
    "num_runner_restarts",
    "num_late_fragments",
    "num_env_restarts",
    "num_lost_rows",
    "num_stale_rows",
    "num_learner_restarts",
    "num_lost_updates",
    *farm_counts.COUNTED,
)


class Totals:
    """Counts iterations, steps, episodes and seconds, and remembers the last episodes."""

    def __init__(self, settings: RunSettings, *, num_env_steps_per_fragment: int | None = None) -> None:
        """Start at nothing; `settings` say which dials there are to turn.

        Without `num_env_steps_per_fragment` each row of a fragment is a step of an environment, as where
        there is one agent.
        """
        self._settings = settings
        self._num_env_steps_per_fragment = num_env_steps_per_fragment
        self._cores = BusyCores()
        self._has_farms = settings.env_runners.listen is not None
        self._has_other_machines = (
            settings.resources.ray_address not in (None, "local")
            or self._has_farms
            or settings.learners.learner_address is not None
        )
        self._newest: deque[Iteration] = deque(maxlen=NUM_SMOOTHED)
        self._cores_busy: deque[float] = deque(maxlen=NUM_SMOOTHED)
        self.iteration = 0
        self.time_s = 0.0
        self._counts = dict.fromkeys(COUNTED, 0)
        self._runners_before = PoolStatistics(num_runners=0)
        self._restarts_before = 0
        self._returns: deque[float] = deque(maxlen=NUM_EPISODES)
        self._lengths: deque[int] = deque(maxlen=NUM_EPISODES)

    def add(self, iteration: Iteration) -> dict[str, Any]:
        """Count one iteration and return its metrics."""
        self.iteration += 1
        self.time_s += iteration.total_s
        num_env_steps = self._num_env_steps(iteration)
        news = _news(iteration, self._runners_before, self._restarts_before)
        for name, number in (news | {"num_env_steps": num_env_steps}).items():
            self._counts[name] += number
        self._runners_before, self._restarts_before = iteration.runners, iteration.learners.num_restarts
        for summary in iteration.summaries:
            self._returns.extend(filter(math.isfinite, summary.episodes.returns.tolist()))
            self._lengths.extend(summary.episodes.lengths.tolist())
        return {
            "iteration": self.iteration,
            "time_s": self.time_s,
            "num_env_runners": iteration.runners.num_runners,
            **({farm_counts.UP: iteration.runners.num_farm_runners} if self._has_farms else {}),
            **self._shown_counts(),
            **self._episodes(),
            **_speed(iteration, num_env_steps),
            **({"agent_steps_per_s": news[AGENT_STEPS] / iteration.total_s} if self._has_agents else {}),
            **_staleness(iteration),
            **self._bottleneck(iteration),
            **{f"learner/{name}": float(value) for name, value in iteration.metrics.items()},
        }

    @property
    def _has_agents(self) -> bool:
        return self._num_env_steps_per_fragment is not None

    def _num_env_steps(self, iteration: Iteration) -> int:
        if self._num_env_steps_per_fragment is None:
            return sum(summary.num_rows for summary in iteration.summaries)
        return self._num_env_steps_per_fragment * len(iteration.summaries)

    def _shown_counts(self) -> dict[str, int]:
        left_out = [] if self._has_farms else [*farm_counts.COUNTED]
        left_out += [] if self._has_agents else [AGENT_STEPS]
        return {name: number for name, number in self._counts.items() if name not in left_out}

    def _episodes(self) -> dict[str, float]:
        returns = np.array(self._returns or [math.nan])
        return {
            "episode_return_mean": float(returns.mean()),
            "episode_return_min": float(returns.min()),
            "episode_return_max": float(returns.max()),
            "episode_length_mean": float(np.mean(self._lengths or [math.nan])),
            "recent_return_mean": float(returns[-NUM_RECENT_EPISODES:].mean()),
        }

    def _bottleneck(self, iteration: Iteration) -> dict[str, Any]:
        self._newest.append(iteration)
        busy = self._cores.share()
        self._cores_busy.extend([] if busy is None else [busy])
        env_runners, learners = self._settings.env_runners, self._settings.learners
        sentence = bottleneck(
            shares_of(self._newest),
            env_runners=env_runners,
            learners=learners,
            is_asynchronous=any(one.learners.staleness for one in self._newest),
            num_runners_up=iteration.runners.num_runners,
            cores_busy=float(np.mean(self._cores_busy))
            if self._cores_busy and not self._has_other_machines
            else None,
        )
        return {"bottleneck": sentence} | ({} if busy is None else {"cores_busy_share": busy})

    def get_state(self) -> dict[str, Any]:
        """Return everything counted, for a checkpoint."""
        return {
            "iteration": self.iteration,
            "time_s": self.time_s,
            "counts": dict(self._counts),
            "returns": list(self._returns),
            "lengths": list(self._lengths),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting from what `get_state` returned, with runners and learners made anew."""
        self.iteration = state["iteration"]
        self.time_s = state["time_s"]
        self._counts = {name: state["counts"].get(name, 0) for name in COUNTED}
        self._runners_before, self._restarts_before = PoolStatistics(num_runners=0), 0
        self._returns = deque(state["returns"], maxlen=NUM_EPISODES)
        self._lengths = deque(state["lengths"], maxlen=NUM_EPISODES)


def _news(now: Iteration, runners_before: PoolStatistics, restarts_before: int) -> dict[str, int]:
    """Return what an iteration adds to each count; pools and learners count from their own beginning."""
    runners, learners = now.runners, now.learners
    statistics = [summary.statistics for summary in now.summaries]
    return {
        AGENT_STEPS: sum(summary.num_rows for summary in now.summaries),
        "num_episodes": sum(len(summary.episodes.returns) for summary in now.summaries),
        "num_updates": learners.num_updates,
        "num_runner_restarts": runners.num_runner_restarts - runners_before.num_runner_restarts,
        "num_late_fragments": runners.num_late_fragments - runners_before.num_late_fragments,
        "num_env_restarts": sum(one.num_restarts for one in statistics),
        "num_lost_rows": sum(one.num_lost_rows for one in statistics)
        + runners.num_lost_rows
        - runners_before.num_lost_rows
        + learners.num_lost_rows,
        "num_stale_rows": learners.num_stale_rows,
        "num_learner_restarts": learners.num_restarts - restarts_before,
        "num_lost_updates": learners.num_lost_updates,
        **farm_counts.farm_news(runners, runners_before),
    }


def _speed(iteration: Iteration, num_env_steps: int) -> dict[str, float]:
    shares = shares_of([iteration])
    total_s, num_runners = iteration.total_s, max(1, iteration.runners.num_runners)
    statistics = [summary.statistics for summary in iteration.summaries]
    seconds = {
        "environment_s": sum(one.environment_s for one in statistics) / num_runners,
        "policy_s": sum(one.policy_s for one in statistics) / num_runners,
        "learner_s": iteration.learners.work_s,
    }
    return {
        "iteration_s": total_s,
        "env_steps_per_s": num_env_steps / total_s,
        **seconds,
        "rest_s": max(0.0, total_s - sum(seconds.values())),
        "runner_work_share": shares.runner_work,
        "runner_wait_share": shares.runner_wait,
        "learner_work_share": shares.learner_work,
        "learner_wait_share": shares.learner_wait,
    }


def _staleness(iteration: Iteration) -> dict[str, Any]:
    staleness = iteration.learners.staleness
    if not staleness:
        return {}
    counts = [0] * (min(max(staleness), NUM_AGES - 1) + 1)
    for age, number in staleness.items():
        counts[min(age, NUM_AGES - 1)] += number
    return {
        "queue_depth": iteration.learners.queue_depth,
        "staleness_mean": sum(age * number for age, number in staleness.items()) / sum(staleness.values()),
        "staleness_max": max(staleness),
        "staleness_histogram": counts,
    }
