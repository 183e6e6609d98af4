"""The view of a run where there is no terminal: one line every few seconds."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from outrider.algorithm.figure import figure
from outrider.algorithm.loops.farm_counts import farm_words
from outrider.algorithm.loops.shares import mean_share
from outrider.algorithm.policies.policy_words import spread_words, sum_word

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from outrider.algorithm.algorithm import Algorithm

INTERVAL_S = 2.0


class PlainLines:
    """Prints how a run goes, first and last iterations included; waits are means since the line before."""

    def __init__(self, *, num_env_runners: int = 0) -> None:
        """Print nothing yet; 0 runners sample in this process."""
        self._num_env_runners = num_env_runners
        self._bottleneck: str | None = None
        self._printed_at = -INTERVAL_S
        self._held_back: str | None = None
        self._since_printed: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def on_train_result(self, algorithm: Algorithm, result: Mapping[str, Any]) -> None:
        """Print a line unless the last one is younger than two seconds."""
        self._since_printed.append(result)
        line = "  ".join([*_parts(result), *self._of_runners(result)])
        self._bottleneck = result.get("bottleneck")
        now = time.monotonic()
        if now - self._printed_at < INTERVAL_S and "evaluation/episode_return_mean" not in result:
            self._held_back = line
            return
        self._print(line)
        self._printed_at = now

    def on_checkpoint(self, algorithm: Algorithm, path: Path) -> None:
        """Say nothing: the path is printed at the end."""

    def on_stop(self, algorithm: Algorithm, reason: str) -> None:
        """Print the last iteration and why it was the last."""
        if self._held_back:
            self._print(self._held_back)
        if self._bottleneck:
            self._print(f"dial: {self._bottleneck}")
        self._print(f"stopped: {reason}")

    def _of_runners(self, result: Mapping[str, Any]) -> list[str]:
        if self._num_env_runners == 0:
            return []
        farms = ", ".join(words for words, _ in farm_words(result))
        return [
            f"{result['num_env_runners']}/{self._num_env_runners} runners",
            *([f"farms: {farms}"] if farms else []),
            f"wait {mean_share(self._since_printed, 'runner_wait_share'):>4.0%}",
            f"learner waits {mean_share(self._since_printed, 'learner_wait_share'):>4.0%}",
        ]

    def _print(self, line: str) -> None:
        self._held_back = None
        self._since_printed = []
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _parts(result: Mapping[str, Any]) -> list[str]:
    mean = result["episode_return_mean"]
    parts = [
        f"iteration {result['iteration']:>5}",
        f"{result['num_env_steps']:>10,} steps",
        ("return        -" if math.isnan(mean) else f"return {figure(mean):>8}") + sum_word(result),
        *([words] if (words := spread_words(result)) else []),
        f"{result['env_steps_per_s']:>8,.0f} steps/s",
        *([f"{result['agent_steps_per_s']:>8,.0f} of agents"] if "agent_steps_per_s" in result else []),
        f"{result['time_s']:>7.1f} s",
    ]
    if "evaluation/episode_return_mean" in result:
        evaluated = figure(result["evaluation/episode_return_mean"])
        parts.append(f"evaluated {evaluated}{sum_word(result)}")
    return parts
