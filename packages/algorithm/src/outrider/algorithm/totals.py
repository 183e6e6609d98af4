"""What an algorithm has done so far, and the metrics of one iteration.

iteration               iterations of collect, learn, publish so far
num_env_steps           environment steps so far
num_episodes            episodes that have ended so far
time_s                  seconds spent training so far, interruptions not counted
episode_return_mean     over the last 100 training episodes whose return is finite, as are _min and _max;
                        absent before the first one ended
episode_length_mean     likewise
recent_return_mean      over the last 20 training episodes
env_steps_per_s         of this iteration
environment_s           seconds of this iteration spent stepping environments
policy_s                likewise, choosing actions
learner_s               likewise, learning
rest_s                  likewise, everything else
num_lost_rows           rows of this iteration that were lost because an environment failed
num_env_restarts        environments rebuilt in this iteration
learner/...             what the learner measured
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outrider.wire import FragmentSummary

NUM_EPISODES = 100
"""Training returns are averaged over this many episodes, as is usual."""
NUM_RECENT_EPISODES = 20


class Totals:
    """Counts iterations, steps, episodes and seconds, and remembers the last episodes."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.iteration = 0
        self.num_env_steps = 0
        self.num_episodes = 0
        self.time_s = 0.0
        self._returns: deque[float] = deque(maxlen=NUM_EPISODES)
        self._lengths: deque[int] = deque(maxlen=NUM_EPISODES)

    def add(
        self,
        fragments: Sequence[FragmentSummary],
        metrics: Mapping[str, float],
        *,
        learner_s: float,
        total_s: float,
    ) -> dict[str, Any]:
        """Count one iteration and return its metrics."""
        num_rows = sum(fragment.num_rows for fragment in fragments)
        self.iteration += 1
        self.num_env_steps += num_rows
        self.time_s += total_s
        for fragment in fragments:
            self.num_episodes += len(fragment.episodes.returns)
            self._returns.extend(filter(math.isfinite, fragment.episodes.returns.tolist()))
            self._lengths.extend(fragment.episodes.lengths.tolist())
        statistics = [fragment.statistics for fragment in fragments]
        environment_s = sum(one.environment_s for one in statistics)
        policy_s = sum(one.policy_s for one in statistics)
        return {
            "iteration": self.iteration,
            "num_env_steps": self.num_env_steps,
            "num_episodes": self.num_episodes,
            "time_s": self.time_s,
            **self._episodes(),
            "env_steps_per_s": num_rows / total_s,
            "environment_s": environment_s,
            "policy_s": policy_s,
            "learner_s": learner_s,
            "rest_s": max(0.0, total_s - environment_s - policy_s - learner_s),
            "num_lost_rows": sum(one.num_lost_rows for one in statistics),
            "num_env_restarts": sum(one.num_restarts for one in statistics),
            **{f"learner/{name}": float(value) for name, value in metrics.items()},
        }

    def _episodes(self) -> dict[str, float]:
        if not self._returns:
            return {}
        returns = np.array(self._returns)
        return {
            "episode_return_mean": float(returns.mean()),
            "episode_return_min": float(returns.min()),
            "episode_return_max": float(returns.max()),
            "episode_length_mean": float(np.mean(self._lengths)),
            "recent_return_mean": float(returns[-NUM_RECENT_EPISODES:].mean()),
        }

    def get_state(self) -> dict[str, Any]:
        """Return everything counted, for a checkpoint."""
        return {
            "iteration": self.iteration,
            "num_env_steps": self.num_env_steps,
            "num_episodes": self.num_episodes,
            "time_s": self.time_s,
            "returns": list(self._returns),
            "lengths": list(self._lengths),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting from what `get_state` returned."""
        self.iteration = state["iteration"]
        self.num_env_steps = state["num_env_steps"]
        self.num_episodes = state["num_episodes"]
        self.time_s = state["time_s"]
        self._returns = deque(state["returns"], maxlen=NUM_EPISODES)
        self._lengths = deque(state["lengths"], maxlen=NUM_EPISODES)
