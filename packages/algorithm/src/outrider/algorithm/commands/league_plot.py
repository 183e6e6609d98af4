"""Draws the Elo of the policies that learn in a league, and thinly that of their snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    Lines = Sequence[Mapping[str, Any]]


def has_league(progress: Mapping[str, Lines]) -> bool:
    """Tell whether a run's progress has the ratings of a league."""
    return any(_rated(lines) for lines in progress.values())


def draw_league(axes: Axes, progress: Mapping[str, Lines]) -> None:
    """Draw into a panel; runs are named where there are several."""
    colours: dict[tuple[str, str], str] = {}
    for run, lines in progress.items():
        rated = _rated(lines)
        learn = [name for name in rated if any(f"league/{name}/win_rate" in line for line in lines)]
        for name in learn:
            colours[run, name] = f"C{len(colours) % 10}"
            label = f"{run}: {name}" if len(progress) > 1 else name
            axes.plot(*rated[name], color=colours[run, name], linewidth=1.8, label=label)
        for name in rated.keys() - set(learn):
            colour = colours.get((run, name.rpartition("@")[0]), "grey")
            axes.plot(*rated[name], color=colour, linewidth=0.6, alpha=0.5)
    axes.plot([], [], color="grey", linewidth=0.6, alpha=0.5, label="snapshots")
    axes.legend(loc="best", fontsize="small")


def _rated(lines: Lines) -> dict[str, tuple[list[float], list[float]]]:
    """Return the environment steps and the ratings of each player, by name."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line in lines:
        for key, rating in line.items():
            if key.startswith("league/") and key.endswith("/elo"):
                steps, ratings = found.setdefault(key[len("league/") : -len("/elo")], ([], []))
                steps.append(line["num_env_steps"])
                ratings.append(rating)
    return found
