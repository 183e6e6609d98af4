"""Draws the returns of several policies: each of a few, and of many from where to where most of them lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider.algorithm.policies.policy_words import NUM_NAMED, RETURN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    Lines = Sequence[Mapping[str, Any]]

LOW, MIDDLE, HIGH = (f"policy_return_p{p}" for p in (10, 50, 90))


def has_policies(progress: Mapping[str, Lines]) -> bool:
    """Tell whether a run has several policies, some of which have ended an episode."""
    return any(_is_known(line) and line["num_policies"] > 1 for lines in progress.values() for line in lines)


def draw_policies(axes: Axes, progress: Mapping[str, Lines]) -> None:
    """Draw into a panel; policies are named where there is one run of a few."""
    for number, (name, lines) in enumerate(progress.items()):
        known = [line for line in lines if _is_known(line)]
        if not known:
            continue
        if len(progress) == 1 and known[-1]["num_policies"] <= NUM_NAMED:
            _draw_each(axes, known)
        else:
            label = f"{name}: " if len(progress) > 1 else ""
            _draw_spread(axes, known, label, f"C{number % 10}")
    axes.legend(loc="best", fontsize="small")


def _draw_each(axes: Axes, lines: Lines) -> None:
    keys = dict.fromkeys(
        key for line in lines for key in line if key.startswith("policies/") and key.endswith(RETURN)
    )
    for key in keys:
        points = [(line["num_env_steps"], line[key]) for line in lines if line.get(key) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, linewidth=1.5, label=key.removeprefix("policies/").removesuffix(RETURN))


def _draw_spread(axes: Axes, lines: Lines, label: str, colour: str) -> None:
    steps = [line["num_env_steps"] for line in lines]
    axes.plot(steps, [line[MIDDLE] for line in lines], color=colour, linewidth=1.5, label=f"{label}median")
    axes.fill_between(
        steps,
        [line[LOW] for line in lines],
        [line[HIGH] for line in lines],
        color=colour,
        alpha=0.15,
        linewidth=0,
        label=f"{label}80 % of policies",
    )


def _is_known(line: Mapping[str, Any]) -> bool:
    """Tell whether some policy had ended an episode; nan is null in a line."""
    return line.get(MIDDLE) is not None
