"""A picture of a run of several policies shows how each of them does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest

from outrider.algorithm.commands.curve_plot import plot_runs
from outrider.algorithm.saved.run_directory import RunDirectory


def run(path: Path, num_policies: int) -> RunDirectory:
    directory = RunDirectory.create(path, {})
    for iteration in (1, 2, 3):
        returns = {"policy_return_p10": 1.0, "policy_return_p50": 2.0, "policy_return_p90": 3.0 * iteration}
        named = {
            f"policies/p{index}/episode_return_mean": float(index) for index in range(min(num_policies, 32))
        }
        line = {"iteration": iteration, "num_env_steps": 10 * iteration, "num_policies": num_policies}
        told = returns | named | {"policies/idle/episode_return_mean": math.nan}
        directory.append_progress(line | (dict.fromkeys(told, math.nan) if iteration == 1 else told))
    return directory


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    figures: list[matplotlib.figure.Figure] = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    return figures


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_few_policies_are_a_curve_each(drawn: list[matplotlib.figure.Figure], tmp_path: Path) -> None:
    plot_runs([run(tmp_path / "few", 2)], tmp_path / "curve.png")
    axes = drawn[0].axes[-1]
    assert (axes.get_title("left"), labels(axes)) == ("return of each policy", ["p0", "p1"])
    assert axes.lines[1].get_xydata().tolist() == [[20, 1], [30, 1]]


def test_many_policies_are_their_median_and_where_most_lie(
    drawn: list[matplotlib.figure.Figure], tmp_path: Path
) -> None:
    many = run(tmp_path / "a", 1000)
    plot_runs([many], tmp_path / "curve.png")
    assert labels(drawn.pop().axes[-1]) == ["median", "80 % of policies"]
    plot_runs([many, run(tmp_path / "b", 2)], tmp_path / "curve.png")
    axes = drawn[0].axes[-1]
    assert labels(axes) == ["a: median", "a: 80 % of policies", "b: median", "b: 80 % of policies"]
    assert axes.lines[0].get_xydata().tolist() == [[20, 2], [30, 2]]


def test_one_policy_needs_no_panel(drawn: list[matplotlib.figure.Figure], tmp_path: Path) -> None:
    plot_runs([run(tmp_path / "one", 1)], tmp_path / "curve.png")
    assert [axes.get_title("left") for axes in drawn[0].axes][:2] == ["return", "policy loss"]


def test_a_league_is_drawn_by_its_ratings(drawn: list[matplotlib.figure.Figure], tmp_path: Path) -> None:
    directory = run(tmp_path / "league", 2)
    for iteration in (4, 5):
        line = {"iteration": iteration, "num_env_steps": 10 * iteration, "num_policies": 3}
        rated = {"league/main/elo": 7.0 * iteration, "league/main@4/elo": 28.0, "league/main/win_rate": 0.5}
        directory.append_progress(line | rated)
    plot_runs([directory], tmp_path / "curve.png")
    axes = drawn[0].axes[-1]
    assert (axes.get_title("left"), labels(axes)) == ("Elo in the league", ["main", "snapshots"])
    main, snapshot = axes.lines[:2]
    assert main.get_xydata().tolist() == [[40, 28], [50, 35]]
    assert snapshot.get_xydata().tolist() == [[40, 28], [50, 28]]
    assert main.get_color() == snapshot.get_color()
