"""One policy of thousands is read without the others."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outrider.algorithm.saved.checkpoint import CheckpointError, PartlyRead, read_checkpoint, write_checkpoint
from outrider.algorithm.saved.mapped_arrays import MappedArrays

MILLION = 1_000_000


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(2.5),
        np.zeros((3, 0), np.uint8),
        np.array(["red", "blue"]),
        np.array([True, False]),
    ],
    ids=["rows", "columns", "number", "nothing", "text", "flags"],
)
def test_an_array_is_what_was_written(array: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", other=np.ones(5), mine=array)
    mapped = MappedArrays(tmp_path / "arrays.npz")["mine"]
    assert (mapped.dtype, mapped.shape, mapped.tolist()) == (array.dtype, array.shape, array.tolist())


def test_what_cannot_be_mapped_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "packed.npz", mine=np.zeros(9))
    with pytest.raises(ValueError, match="array mine is compressed"):
        MappedArrays(tmp_path / "packed.npz")["mine"]
    np.savez(tmp_path / "pickles.npz", mine=np.array([object()]))
    with pytest.raises(ValueError, match="array mine holds Python objects"):
        MappedArrays(tmp_path / "pickles.npz")["mine"]


def saved(path: Path) -> Path:
    stack = np.arange(2 * MILLION, dtype=np.float32).reshape(-1, 4)
    return write_checkpoint(path, {"mine": {"stack": stack}, "theirs": [np.ones(MILLION)]})


def test_a_row_of_a_part_takes_no_memory_for_the_rest(tmp_path: Path) -> None:
    checkpoint = PartlyRead(saved(tmp_path / "checkpoint"))
    tracemalloc.start()
    try:
        row = np.array(checkpoint.part(checkpoint.tree["mine"])["stack"][1000])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert row.tolist() == [4000, 4001, 4002, 4003]
    assert peak < MILLION, "8 MB are in the stack, and as many beside it"


def test_what_is_not_asked_for_may_be_unreadable(tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoint")
    with (path / "arrays.npz").open("r+b") as file:
        file.seek(9 * MILLION)  # in the middle of the other array
        file.write(b"\xff" * 6 * MILLION)
    with pytest.raises(CheckpointError, match="its checksum is wrong"):
        read_checkpoint(path)
    checkpoint = PartlyRead(path)
    assert checkpoint.part(checkpoint.tree["mine"])["stack"][-1, -1] == 2 * MILLION - 1
    assert checkpoint.part(checkpoint.tree["theirs"])[0][0] == 1


@pytest.mark.parametrize("num_bytes", [0, 100, MILLION])
def test_a_file_that_was_cut_off_is_damaged(num_bytes: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoint")
    with (path / "arrays.npz").open("r+b") as file:
        file.truncate(num_bytes)
    with pytest.raises(CheckpointError, match=r"arrays.npz is damaged .* use an older checkpoint"):
        PartlyRead(path)


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        (rb"\(2, 3\), }", b"(2, 3(, }"),
        (b"'<f4'", b"'<f4 "),
        (rb"(?s)PK\x01\x02.\x03.", b"PK\x01\x02-\x03\xff"),
    ],
    ids=["brackets", "quotes", "archive"],
)
def test_an_array_whose_description_is_otherwise_than_written_is_damaged(
    written: bytes, wrong: bytes, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "checkpoint", {"mine": np.zeros((2, 3), np.float32)})
    content, count = re.subn(written, wrong, (path / "arrays.npz").read_bytes())
    assert count == 1
    (path / "arrays.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"arrays.npz is damaged"):  # noqa: PT012 - where it is found
        checkpoint = PartlyRead(path)
        checkpoint.part(checkpoint.tree)
