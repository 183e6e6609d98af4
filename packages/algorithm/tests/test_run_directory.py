from __future__ import annotations

import errno
from pathlib import Path
from typing import Self

import pytest

from outrider.algorithm import CheckpointError, NotWrittenError, RunDirectory
from outrider.algorithm.commands import resume_command
from outrider.algorithm.saved import run_directory, whole_file
from outrider.algorithm.saved.run_directory import checkpoint_at, new_run_path


def make(path: Path, num_lines: int = 3) -> RunDirectory:
    run = RunDirectory.create(path, {"a": 1})
    for iteration in range(1, num_lines + 1):
        run.append_progress({"iteration": iteration})
    return run


def iterations(run: RunDirectory) -> list[int]:
    return [line["iteration"] for line in run.progress()]


def test_a_run_is_never_written_over(tmp_path: Path) -> None:
    make(tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run already"):
        RunDirectory.create(tmp_path / "run", {})


def test_a_run_that_cannot_be_continued_is_to_be_deleted(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run already; delete it or give another directory"):
        RunDirectory.refuse_existing(run.path)
    run.checkpoint_path(3).mkdir(parents=True)
    with pytest.raises(ValueError, match="holds a run already; continue it"):
        RunDirectory.refuse_existing(run.path)


def test_a_run_that_failed_in_its_first_iteration_leaves_nothing(tmp_path: Path) -> None:
    make(tmp_path / "later", num_lines=1).delete_without_progress()
    make(tmp_path / "at once", num_lines=0).delete_without_progress()
    assert [path.name for path in tmp_path.iterdir()] == ["later"]


def test_lines_after_a_checkpoint_are_cut(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.cut_progress(2)
    assert iterations(run) == [1, 2]
    run.append_progress({"iteration": 3})
    assert iterations(run) == [1, 2, 3]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.progress_path.write_text(run.progress_path.read_text()[:-5])
    assert iterations(run) == [1, 2]


def test_a_line_for_which_there_is_no_space_is_not_there_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path / "run")

    class FullFile:
        def __init__(self) -> None:
            self._file = run.progress_path.open.__func__(run.progress_path, "ab", buffering=0)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def write(self, line: bytes) -> int:
            if self._file.tell() > size:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self._file.write(line[:5]))

        def tell(self) -> int:
            return int(self._file.tell())

        def fileno(self) -> int:
            return int(self._file.fileno())

    size = run.progress_path.stat().st_size
    full = FullFile()
    monkeypatch.setattr(run_directory.Path, "open", lambda *_, **__: full)
    with pytest.raises(NotWrittenError, match=r"progress\.jsonl was not written: the disk is full"):
        run.append_progress({"iteration": 4})
    monkeypatch.undo()
    assert run.progress_path.stat().st_size == size


def test_a_full_disk_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_bytes(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_file.Path, "write_bytes", write_bytes)
    with pytest.raises(NotWrittenError, match="the disk is full"):
        RunDirectory.create(tmp_path / "run", {})
    assert not list(tmp_path.iterdir())


def test_checkpoints_are_counted_and_not_sorted_by_letters(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    for iteration in (999_999, 1_000_000, 5):
        run.checkpoint_path(iteration).mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / ".iteration-000009.unfinished").mkdir()
    assert run.latest_checkpoint().name == "iteration-1000000"
    run.keep_newest_checkpoints(1)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["iteration-1000000"]


def test_a_place_where_nothing_can_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWrittenError, match=r"run was not written: Not a directory; choose another place"):
        RunDirectory.create(tmp_path / "file" / "run", {})


def test_a_run_stands_for_its_newest_checkpoint(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        checkpoint_at(run.path)
    run.checkpoint_path(3).mkdir(parents=True)
    assert checkpoint_at(run.path) == run.checkpoint_path(3)
    assert checkpoint_at(run.checkpoint_path(3)) == run.checkpoint_path(3)


def test_what_is_no_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no settings\.json; give the directory of a run"):
        RunDirectory.open(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        RunDirectory.open(tmp_path / "nowhere")


def test_two_runs_in_one_second_have_two_names(tmp_path: Path) -> None:
    first = new_run_path("ppo", "ALE/Pong-v5", parent=tmp_path)
    assert first.name.startswith("ppo-ALE-Pong-v5-")
    first.mkdir()
    assert new_run_path("ppo", "ALE/Pong-v5", parent=tmp_path) != first


def test_a_run_that_is_held_cannot_be_held_again(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path / "run", {})
    second = RunDirectory.open(tmp_path / "run")
    refused = pytest.raises(ValueError, match="is still written by another process")
    with first.held(), refused, second.held():
        pass
    with second.held():
        pass


def test_nobody_is_told_to_delete_a_run_that_is_still_written(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", {})
    with directory.held():
        with pytest.raises(ValueError, match="is still written by another process"):
            RunDirectory.refuse_existing(tmp_path / "run")
        with pytest.raises(ValueError, match="is still written by another process"):
            resume_command.run([str(tmp_path / "run")])
