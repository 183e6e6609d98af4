"""What `outrider` installs is enough for its README: in the matrix `alone` these run on nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHORT = ["--stop-iterations", "1", "--train-batch-size-per-learner", "256", "--evaluation-duration", "2"]


def test_the_command_trains_films_and_plots(tmp_path: Path) -> None:
    outrider = str(Path(sys.executable).with_name("outrider"))
    for command in (
        ["train", "ppo", "--env", "CartPole-v1", "--run-dir", "run", *SHORT],
        ["evaluate", "run", "--num-episodes", "2", "--video", "episode.mp4"],
        ["plot", "run", "-o", "curve.png"],
    ):
        done = subprocess.run([outrider, *command], cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"outrider {command[0]}: {done.stderr}"
    assert (tmp_path / "episode.mp4").stat().st_size > 0
    assert (tmp_path / "curve.png").stat().st_size > 0
