from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import pytest

from outrider.algorithm.commands.curve_plot import plot_runs
from outrider.algorithm.saved.checkpoint import CheckpointError
from outrider.algorithm.saved.run_directory import RunDirectory


def run(path: Path, num_lines: int) -> RunDirectory:
    directory = RunDirectory.create(path, {})
    for iteration in range(1, num_lines + 1):
        directory.append_progress({"iteration": iteration, "num_env_steps": iteration})
    return directory


def test_a_run_without_progress_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plot_runs([run(tmp_path / "empty", 0), run(tmp_path / "good", 2)], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").exists()
    assert caplog.messages == ["run empty has no progress yet and is left out"]


def test_runs_of_which_none_has_progress_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="two has no progress yet"):
        plot_runs([run(tmp_path / "one", 0), run(tmp_path / "two", 0)], tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_runs_of_the_same_name_are_told_apart_by_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[matplotlib.figure.Figure] = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    runs = [run(tmp_path / parent / "seed-1", 2) for parent in ("a", "b")]
    for one in runs:
        one.append_progress({"iteration": 3, "num_env_steps": 3, "episode_return_mean": 1.0})
    plot_runs(runs, tmp_path / "curve.png")
    legend = figures[0].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [str(one.path) for one in runs]
