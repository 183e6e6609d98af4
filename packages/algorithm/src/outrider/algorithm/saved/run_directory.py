"""The directory of a run: everything that is left of it when the process is gone.

runs/ppo-CartPole-v1-2026-11-22-14-03-05/
    settings.json       every setting, defaults included
    progress.jsonl      one line of metrics for each iteration
    events.out.tfevents.*
    checkpoints/iteration-000123/
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outrider.algorithm.saved.checkpoint import CheckpointError
from outrider.algorithm.saved.whole_file import NotWrittenError, not_written, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class RunDirectory:
    """Reads and writes the directory of one run."""

    def __init__(self, path: Path | str) -> None:
        """Take the path; nothing is touched."""
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path | str, settings: Mapping[str, Any]) -> RunDirectory:
        """Make the directory and record the settings. Raises ValueError where a run is already."""
        cls.refuse_existing(path)
        run = cls(path)
        existed = run.path.exists()
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            run.record_settings(settings)
        except OSError as error:
            if not existed:
                shutil.rmtree(run.path, ignore_errors=True)
            raise error if isinstance(error, NotWrittenError) else not_written(run.path, error) from error
        return run

    @staticmethod
    def refuse_existing(path: Path | str) -> None:
        """Raise ValueError where a run is already, before anything is made for another."""
        if (Path(path) / "settings.json").exists():
            run = RunDirectory(path)
            with run.held():  # nobody is told to delete what is still written
                can_go_on = run.checkpoints()
            cure = f"continue it with `outrider resume {path}`" if can_go_on else "delete it"
            raise ValueError(f"{path} holds a run already; {cure} or give another directory")

    @classmethod
    def open(cls, path: Path | str) -> RunDirectory:
        """Return the run at `path`. Raises CheckpointError where none is."""
        run = cls(path)
        if not (run.path / "settings.json").is_file():
            what = "has no settings.json" if run.path.exists() else "does not exist"
            raise CheckpointError(f"{run.path} {what}; give the directory of a run")
        return run

    @property
    def progress_path(self) -> Path:
        """Where the metrics are, one JSON object a line."""
        return self.path / "progress.jsonl"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from writing to this run; the hold ends with the process, however it ends.

        Raises ValueError where another process holds the run. Windows has no such hold.
        """
        if sys.platform == "win32":
            yield
            return
        import fcntl

        directory = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"run {self.path} is still written by another process; wait for it, or stop it first"
                ) from None
            yield
        finally:
            os.close(directory)

    def record_settings(self, settings: Mapping[str, Any]) -> None:
        """Write settings.json."""
        write_whole(self.path / "settings.json", json.dumps(settings, indent=2) + "\n")

    def checkpoint_path(self, iteration: int) -> Path:
        """Return where the checkpoint after this iteration belongs."""
        return self.path / "checkpoints" / f"iteration-{iteration:06d}"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        found = (self.path / "checkpoints").glob("iteration-*")
        return sorted((path for path in found if re.fullmatch(r"iteration-\d+", path.name)), key=_iteration)

    def latest_checkpoint(self) -> Path:
        """Return the newest checkpoint. Raises CheckpointError where there is none."""
        checkpoints = self.checkpoints()
        if not checkpoints:
            raise CheckpointError(
                f"run {self.path} has no checkpoint yet; delete it and train again with the same settings"
            )
        return checkpoints[-1]

    def delete_without_checkpoint(self) -> None:
        """Delete the directory of a run that could not go on and left nothing to go on from."""
        if not self.checkpoints():
            shutil.rmtree(self.path, ignore_errors=True)

    def delete_without_progress(self) -> None:
        """Delete the directory of a run that failed in its first iteration."""
        if not self.progress_path.exists():
            self.delete_without_checkpoint()

    def keep_newest_checkpoints(self, number: int) -> None:
        """Delete all but the newest checkpoints, and what a killed process left of one."""
        unfinished = (self.path / "checkpoints").glob(".iteration-*")
        for path in [*unfinished, *self.checkpoints()[:-number]]:
            shutil.rmtree(path, ignore_errors=True)

    def append_progress(self, result: Mapping[str, Any]) -> None:
        """Write one line of metrics; where the disk is full, the line is not there at all."""
        line = _line(result).encode()
        with self.progress_path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                written = file.write(line)
                file.write(line[written:])  # raises where a full disk took only the beginning
            except OSError as error:
                os.ftruncate(file.fileno(), before)
                raise not_written(self.progress_path, error) from error

    def cut_progress(self, iteration: int) -> None:
        """Drop the lines after `iteration`, which a resumed run writes again."""
        kept = [line for line in self.progress() if line["iteration"] <= iteration]
        write_whole(self.progress_path, "".join(map(_line, kept)))

    def progress(self) -> Sequence[Mapping[str, Any]]:
        """Return the metrics of each iteration; a last line that was cut off is left out."""
        if not self.progress_path.exists():
            return []
        results = []
        for line in self.progress_path.read_text(encoding="utf-8").splitlines():
            try:
                results.append(json.loads(line))
            except ValueError:
                break
        return results


def new_run_path(algorithm: str, env: str, *, parent: Path = Path("runs")) -> Path:
    """Return a path that no run has, named by what runs and when."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", env).strip("-")
    stem = f"{algorithm}-{name}-{datetime.now().astimezone():%Y-%m-%d-%H-%M-%S}"
    path, number = parent / stem, 2
    while path.exists():
        path, number = parent / f"{stem}-{number}", number + 1
    return path


def _line(result: Mapping[str, Any]) -> str:
    """Write a result as JSON, which knows no nan and no infinity: they become null."""
    finite = {
        name: value if not isinstance(value, float) or math.isfinite(value) else None
        for name, value in result.items()
    }
    return json.dumps(finite) + "\n"


def _iteration(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def checkpoint_at(path: Path | str) -> Path:
    """Return the checkpoint that `path` is, or the newest one of the run that it is."""
    if (Path(path) / "settings.json").is_file():
        return RunDirectory.open(path).latest_checkpoint()
    return Path(path)
