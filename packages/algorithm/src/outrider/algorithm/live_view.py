"""The view of a run in a terminal: how far it is, how well it does, and where the time goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from outrider.algorithm.figure import figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.stopping import StopRule

INTERVAL_S = 0.1
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 40
PLACES = {"environment_s": "cyan", "policy_s": "green", "learner_s": "magenta", "rest_s": "bright_black"}
"""Where time goes, and the colour of each."""


class LiveView:
    """Redraws a few lines in place, at most ten times a second; enter it around the run."""

    def __init__(self, title: str, stop: StopRule, *, console: Console | None = None) -> None:
        """`title` says what runs; `stop` knows how far it is."""
        self._title = title
        self._stop = stop
        self._live = Live(console=console or Console(), auto_refresh=False, transient=False)
        self._drawn_at = 0.0
        self._returns: list[float] = []
        self._seconds = dict.fromkeys(PLACES, 0.0)
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
        if "episode_return_mean" in result:
            self._returns.append(result["episode_return_mean"])
        self._evaluated = result.get("evaluation/episode_return_mean", self._evaluated)
        for place in PLACES:
            self._seconds[place] += result[place]
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
        lines.add_row("speed", f"{result['env_steps_per_s']:,.0f} environment steps/s")
        lines.add_row("time", _shares(self._seconds))
        losses = {
            name.removeprefix("learner/"): value
            for name, value in result.items()
            if name in {"learner/policy_loss", "learner/value_loss", "learner/entropy", "learner/mean_kl"}
        }
        if losses:
            words = "  ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in losses.items())
            lines.add_row("learner", words)
        rows: list[Any] = [Text(self._title, style="bold"), lines]
        if reason:
            rows.append(Text(f"stopped: {reason}"))
        return Group(*rows)

    def _progress(self, *, is_over: bool) -> Table:
        result, share = self._latest, self._stop.progress(self._latest)
        row = Table.grid(padding=(0, 2))
        words = f"{result['num_env_steps']:,} steps  {_clock(result['time_s'])}"
        if 0 < share < 1 and not is_over:
            words += f"  at most {_clock(result['time_s'] * (1 - share) / share)} to go"
        row.add_row(ProgressBar(total=1.0, completed=share, width=CURVE_WIDTH), words)
        return row

    def _return(self) -> Text:
        if not self._returns:
            return Text("no episode has ended yet", style="dim")
        text = Text(curve(self._returns, CURVE_WIDTH), style="yellow")
        text.append(f"  {figure(self._returns[-1])}", style="bold")
        if self._evaluated is not None:
            text.append(f"  evaluated {figure(self._evaluated)}")
        if self._stop.wanted_return is not None:
            text.append(f"  wanted {self._stop.wanted_return:g}", style="dim")
        return text


def curve(values: Sequence[float], width: int) -> str:
    """Draw values as blocks of eight heights, from the lowest to the highest.

    >>> curve([0.0, 1.0, 2.0, 7.0], 4)
    '▁▂▃█'
    """
    if len(values) > width:
        ends = [len(values) * (column + 1) // width for column in range(width)]
        values = [
            sum(values[start:end]) / (end - start) for start, end in zip([0, *ends], ends, strict=False)
        ]
    low, high = min(values), max(values)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in values).ljust(width)


def _shares(seconds: Mapping[str, float]) -> Text:
    total = sum(seconds.values()) or 1.0
    text = Text()
    for place, colour in PLACES.items():
        text.append("█" * round(CURVE_WIDTH * seconds[place] / total), style=colour)
    for place, colour in PLACES.items():
        text.append(f"  {place.removesuffix('_s')} ", style=colour)
        text.append(f"{seconds[place] / total:.0%}")
    return text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
