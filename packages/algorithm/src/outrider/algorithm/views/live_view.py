"""The view of a run in a terminal: how far it is, how well it does, and where the time goes."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from outrider.algorithm.figure import figure
from outrider.algorithm.policies.policy_words import policies_words, sum_word
from outrider.algorithm.views.bars import curve
from outrider.algorithm.views.stage_lines import (
    farm_line,
    learner_lane,
    lost_line,
    queue_line,
    runner_lane,
    turns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.settings.stopping import StopRule

INTERVAL_S = 0.1
NUM_SMOOTHED = 10
"""Iterations over which work and waiting are shown, as in `outrider.algorithm.loops.totals`."""
WORDS_WIDTH = 62
"""Columns of the longest line beside its bar; bars take what is left."""
BAR_WIDTHS = (10, 40)
LOSSES = ("policy_loss", "value_loss", "entropy", "mean_kl")


class LiveView:
    """Redraws a few lines in place, at most ten times a second; enter it around the run."""

    def __init__(
        self, title: str, stop: StopRule, *, num_env_runners: int = 0, console: Console | None = None
    ) -> None:
        """`title` says what runs; `stop` knows how far it is; 0 runners sample in this process."""
        self._title = title
        self._stop = stop
        self._num_env_runners = num_env_runners
        self._live = Live(console=console or Console(), auto_refresh=False, transient=False)
        self._drawn_at = 0.0
        self._returns: list[float] = []
        self._newest: deque[Mapping[str, Any]] = deque(maxlen=NUM_SMOOTHED)
        self._evaluated: float | None = None
        self._latest: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        self._live.start()
        self._live.update(Text(f"{self._title}\nstarting"), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def on_train_result(self, algorithm: Algorithm, result: Mapping[str, Any]) -> None:
        """Take the numbers in, and draw if it is time."""
        self._latest = result
        if not math.isnan(result["episode_return_mean"]):
            self._returns.append(result["episode_return_mean"])
        self._evaluated = result.get("evaluation/episode_return_mean", self._evaluated)
        self._newest.append(result)
        if time.monotonic() - self._drawn_at >= INTERVAL_S:
            self._draw()

    def on_checkpoint(self, algorithm: Algorithm, path: Path) -> None:
        """Show nothing: the path is printed at the end."""

    def on_stop(self, algorithm: Algorithm, reason: str) -> None:
        """Draw the last iteration and why it was the last."""
        self._draw(reason)

    def _draw(self, reason: str | None = None) -> None:
        if not self._latest:
            return
        self._live.update(self._lines(reason), refresh=True)
        self._drawn_at = time.monotonic()

    def _lines(self, reason: str | None) -> Group:
        result = self._latest
        lines = Table.grid(padding=(0, 2))
        lines.add_column(style="bold", no_wrap=True)
        lines.add_column()
        lines.add_row("progress", self._progress(is_over=reason is not None))
        lines.add_row("return", self._return())
        if of_policies := policies_words(result):
            lines.add_row("policies", of_policies)
        lines.add_row("speed", self._speed())
        for name, line in self._stages():
            if line is not None:
                lines.add_row(name, line)
        losses = [name for name in LOSSES if f"learner/{name}" in result]
        if losses:
            words = (f"{name.replace('_', ' ')} {result[f'learner/{name}']:.3g}" for name in losses)
            lines.add_row("losses", "  ".join(words))
        if "bottleneck" in result:
            lines.add_row("dial", result["bottleneck"])
        rows: list[Any] = [Text(self._title, style="bold"), lines]
        if reason:
            rows.append(Text(f"stopped: {reason}"))
        return Group(*rows)

    @property
    def _width(self) -> int:
        low, high = BAR_WIDTHS
        return max(low, min(high, self._live.console.width - WORDS_WIDTH))

    def _stages(self) -> list[tuple[str, Text | None]]:
        results = list(self._newest)
        if self._num_env_runners == 0:
            return [("time", turns(results, self._width)), ("lost", lost_line(self._latest))]
        return [
            ("runners", runner_lane(results, self._width)),
            ("learner", learner_lane(results, self._width)),
            ("queue", queue_line(results)),
            ("farms", farm_line(self._latest)),
            ("lost", lost_line(self._latest)),
        ]

    def _speed(self) -> Text:
        result = self._latest
        text = Text(f"{result['env_steps_per_s']:,.0f} environment steps/s")
        if "agent_steps_per_s" in result:
            text.append(f"  {result['agent_steps_per_s']:,.0f} agent steps/s")
        if self._num_env_runners:
            num_up = result["num_env_runners"]
            text.append(
                f"  {num_up} of {self._num_env_runners} runners up",
                style="" if num_up == self._num_env_runners else "red",
            )
        return text

    def _progress(self, *, is_over: bool) -> Table:
        result, share = self._latest, self._stop.progress(self._latest)
        row = Table.grid(padding=(0, 2))
        words = f"{result['num_env_steps']:,} steps  {_clock(result['time_s'])}"
        if 0 < share < 1 and not is_over:
            words += f"  at most {_clock(result['time_s'] * (1 - share) / share)} to go"
        row.add_row(ProgressBar(total=1.0, completed=share, width=self._width), words)
        return row

    def _return(self) -> Text:
        if not self._returns:
            return Text("no episode has ended yet", style="dim")
        text = Text(curve(self._returns, self._width), style="yellow")
        text.append(f"  {figure(self._returns[-1])}{sum_word(self._latest)}", style="bold")
        if self._evaluated is not None:
            text.append(f"  evaluated {figure(self._evaluated)}")
        if self._stop.wanted_return is not None:
            text.append(f"  wanted {self._stop.wanted_return:g}", style="dim")
        return text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
