"""Draws returns and losses of runs against environment steps."""

from __future__ import annotations

import io
import logging
import math
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from outrider.algorithm.commands.league_plot import draw_league, has_league
from outrider.algorithm.commands.policy_plot import draw_policies, has_policies
from outrider.algorithm.saved.checkpoint import CheckpointError
from outrider.algorithm.saved.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from outrider.algorithm.saved.run_directory import RunDirectory

log = logging.getLogger(__name__)

PANELS = {
    "return": "episode_return_mean",
    "policy loss": "learner/policy_loss",
    "value loss": "learner/value_loss",
    "entropy": "learner/entropy",
    "KL divergence": "learner/mean_kl",
}
"""What is drawn where: the return large, what the learner measured below it."""


def plot_runs(runs: Sequence[RunDirectory], path: Path) -> None:
    """Draw all runs into one PNG, but those without a line of progress.

    Raises CheckpointError where that leaves none.
    """
    names = [run.path.name or str(run.path) for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    progress = {name: run.progress() for name, run in zip(names, runs, strict=True)}
    for name in [name for name, lines in progress.items() if not lines]:
        if len(progress) == 1:
            raise CheckpointError(f"run {name} has no progress yet; plot it after its first iteration")
        log.warning("run %s has no progress yet and is left out", name)
        del progress[name]
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 4, height_ratios=(2, 1))
    of_policies = has_policies(progress)
    for index, (title, metric) in enumerate(PANELS.items()):
        above = grid[0, :2] if of_policies else grid[0, :]
        axes = figure.add_subplot(above if index == 0 else grid[1, index - 1])
        for number, (name, lines) in enumerate(progress.items()):
            _draw(axes, lines, metric, label=name, colour=f"C{number % 10}")
            if index == 0 and len(progress) == 1:
                _draw_range(axes, lines)
        _dress(axes, f"{title}, summed over agents" if index == 0 and of_policies else title)
        if index == 0:
            _draw_evaluations(axes, progress)
            axes.set_xlabel("environment steps")
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="best", fontsize="small")
    if of_policies:
        _draw_each(figure.add_subplot(grid[0, 2:]), progress)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    write_whole(path, picture.getvalue())


def _draw(axes: Axes, lines: Sequence[Mapping[str, Any]], metric: str, *, label: str, colour: str) -> None:
    points = [(line["num_env_steps"], line[metric]) for line in lines if _is_number(line.get(metric))]
    if not points:
        return
    steps, values = zip(*points, strict=True)
    axes.plot(steps, values, color=colour, linewidth=1.5, label=label, marker="." if len(points) < 3 else "")


def _draw_each(axes: Axes, progress: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw how each policy does. What those of a league get depends on whom they play, and Elo does not."""
    if has_league(progress):
        draw_league(axes, progress)
        _dress(axes, "Elo in the league")
    else:
        draw_policies(axes, progress)
        _dress(axes, "return of each policy")
    axes.set_xlabel("environment steps")


def _draw_range(axes: Axes, lines: Sequence[Mapping[str, Any]]) -> None:
    """Shade from the worst to the best of the last episodes; for one run only, or shades overlap."""
    ended = [line for line in lines if _is_number(line.get("episode_return_mean"))]
    if not ended:
        return
    axes.fill_between(
        [line["num_env_steps"] for line in ended],
        [line["episode_return_min"] for line in ended],
        [line["episode_return_max"] for line in ended],
        alpha=0.12,
        linewidth=0,
        label="from the worst to the best of 100 episodes",
    )


def _draw_evaluations(axes: Axes, progress: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Mark each evaluation by a point, in its run's colour."""
    metric = "evaluation/episode_return_mean"
    label: str | None = "evaluation"
    for number, lines in enumerate(progress.values()):
        points = [(line["num_env_steps"], line[metric]) for line in lines if _is_number(line.get(metric))]
        if points:
            steps, values = zip(*points, strict=True)
            axes.scatter(
                steps, values, s=40, color=f"C{number % 10}", edgecolor="black", zorder=3, label=label
            )
            label = None


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize="medium")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize="small")
    axes.locator_params(axis="x", nbins=4)


def _is_number(value: Any) -> bool:  # noqa: ANN401 - anything that stands in a line
    return isinstance(value, (int, float)) and math.isfinite(value)
