from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from outrider.algorithm import CheckpointError, NotWrittenError, read_checkpoint, write_checkpoint
from outrider.algorithm.saved import checkpoint


def tree() -> dict[str, object]:
    return {
        "count": 3,
        "rate": 0.25,
        "name": "x",
        "none": None,
        "yes": True,
        "large": 2**100,
        "nested": [{"weights": np.arange(6, dtype=np.float32).reshape(2, 3)}, np.array(7)],
    }


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", tree())
    read = read_checkpoint(tmp_path / "c")
    weights = read["nested"][0].pop("weights")
    assert weights.dtype == np.float32
    assert weights.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["nested"].pop() == np.array(7)
    assert read == {**tree(), "nested": [{}]}


def test_a_checkpoint_replaces_an_older_one(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", {"a": 1})
    write_checkpoint(tmp_path / "c", {"a": 2})
    assert read_checkpoint(tmp_path / "c") == {"a": 2}
    assert [left.name for left in tmp_path.iterdir()] == ["c"]


def test_what_is_no_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(NotWrittenError, match="exists and is no checkpoint"):
        write_checkpoint(tmp_path, {"a": 1})
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_objects_cannot_stand_in_a_checkpoint(tmp_path: Path) -> None:
    for value in (object(), np.array([object()]), {1: 2}):
        with pytest.raises(TypeError, match="cannot stand in a checkpoint"):
            write_checkpoint(tmp_path / "c", {"a": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_full_disk_leaves_the_older_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    write_checkpoint(tmp_path / "c", {"a": 1})
    calls = iter(range(1, 100))

    def fsync(_: int) -> None:
        if next(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", fsync)
    with pytest.raises(NotWrittenError, match="was not written: the disk is full; free some space"):
        write_checkpoint(tmp_path / "c", {"a": 2})
    assert read_checkpoint(tmp_path / "c") == {"a": 1}
    assert [left.name for left in tmp_path.iterdir()] == ["c"]


def test_a_missing_checkpoint_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist; give the directory of a checkpoint"):
        read_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"has no checkpoint\.json"):
        read_checkpoint(tmp_path)


def test_a_run_in_the_place_of_a_checkpoint_is_answered_with_its_newest_one(tmp_path: Path) -> None:
    for iteration in (2, 10):
        write_checkpoint(tmp_path / "run" / "checkpoints" / f"iteration-{iteration:06d}", {})
    with pytest.raises(
        CheckpointError, match=r"give the directory of a checkpoint, such as .*iteration-000010$"
    ):
        read_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("name", ["checkpoint.json", "arrays.npz"])
def test_a_truncated_checkpoint_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = write_checkpoint(tmp_path / "c", tree())
    content = (path / name).read_bytes()
    for length in range(0, len(content), 7):
        (path / name).write_bytes(content[:length])
        with pytest.raises(
            CheckpointError, match=r"cannot be read: .* is damaged .*; use an older checkpoint"
        ):
            read_checkpoint(path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", tree())
    content = (path / "arrays.npz").read_bytes()
    for position in range(0, len(content), 3):
        broken = bytearray(content)
        broken[position] ^= 0xFF
        (path / "arrays.npz").write_bytes(broken)
        with pytest.raises(CheckpointError, match="its checksum is wrong"):
            read_checkpoint(path)


def test_a_checkpoint_of_another_format_names_both_versions(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", {})
    document = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps({**document, "version": 9}))
    with pytest.raises(CheckpointError, match="format version 9 and this release reads 1"):
        read_checkpoint(path)
    (path / "checkpoint.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no checkpoint of Outrider"):
        read_checkpoint(path)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c", {"a": np.zeros(1)})
    with (path / "arrays.npz").open("wb") as file:
        np.savez(file, a0=np.array([{"pickled": True}], dtype=object))
    document = json.loads((path / "checkpoint.json").read_text())
    document["sha256"] = hashlib.sha256((path / "arrays.npz").read_bytes()).hexdigest()
    (path / "checkpoint.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        read_checkpoint(path)
