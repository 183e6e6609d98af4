"""Checkpoints: nested dicts and lists with NumPy arrays, as JSON and an npz file in one directory.

    checkpoint.json   {"format": "outrider-checkpoint", "version": 1, "sha256": ..., "tree": ...}
    arrays.npz        the arrays, which the tree names as {"__array__": "a0"}; of that checksum

Nothing is ever pickled. A checkpoint appears whole or not at all: it is written beside its place,
flushed to the disk and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tokenize
import zipfile
from contextlib import suppress
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from outrider.algorithm.saved.mapped_arrays import MappedArrays
from outrider.algorithm.saved.whole_file import NotWrittenError, not_written

FORMAT = "outrider-checkpoint"
VERSION = 1

Tree: TypeAlias = Any
"""Nested dict (string keys) and list of str, int, float, bool, None and NumPy arrays."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, in one sentence."""


def write_checkpoint(path: Path | str, tree: Tree) -> Path:
    """Write `tree` to the directory `path`, replacing a checkpoint that is there already.

    Raises NotWrittenError and leaves what was there before, and nothing half-written.
    """
    path = Path(path)
    if path.exists() and not (path / "checkpoint.json").exists():
        raise NotWrittenError(f"{path} exists and is no checkpoint; choose another path")
    unfinished = path.with_name(f".{path.name}.unfinished")
    replaced = path.with_name(f".{path.name}.replaced")
    arrays: dict[str, Any] = {}
    document = {"format": FORMAT, "version": VERSION, "sha256": "", "tree": _without_arrays(tree, arrays)}
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        with (unfinished / "arrays.npz").open("w+b") as file:
            np.savez(file, **arrays)
            _flush(file.fileno())
            document["sha256"] = _checksum(file)
        with (unfinished / "checkpoint.json").open("w", encoding="utf-8") as file_json:
            file_json.write(json.dumps(document))  # `json.dump` is written in Python, and ten times slower
            file_json.flush()
            _flush(file_json.fileno())
        if path.exists():
            path.rename(replaced)
        unfinished.rename(path)
        _flush_directory(path.parent)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if replaced.exists() and not path.exists():
            with suppress(OSError):
                replaced.rename(path)
        raise not_written(path, error) from error
    shutil.rmtree(replaced, ignore_errors=True)
    return path


def read_checkpoint(path: Path | str) -> Tree:
    """Read the tree that was written to `path`. Raises CheckpointError."""
    path = Path(path)
    document = _read_document(path)
    try:
        with (path / "arrays.npz").open("rb") as file:
            if _checksum(file) != document.get("sha256"):
                raise ValueError("its checksum is wrong")
            with np.load(file, allow_pickle=False) as arrays:
                return _with_arrays(document["tree"], dict(arrays))
    except _DAMAGES as error:
        raise _damaged(path, error) from None


def read_without_arrays(path: Path | str) -> Tree:
    """Read the tree that was written to `path`, but for its arrays. Raises CheckpointError."""
    return _read_document(Path(path)).get("tree", {})


class PartlyRead:
    """A checkpoint of which some parts are read: arrays are mapped into memory, whatever their size.

    No checksum is looked at, as that would read everything.
    """

    def __init__(self, path: Path | str) -> None:
        """Read all but the arrays. Raises CheckpointError."""
        self._path = Path(path)
        document = _read_document(self._path)
        try:
            self.tree: Tree = document["tree"]
            """Arrays are left out; `part` puts them in."""
            self._arrays = MappedArrays(self._path / "arrays.npz")
        except _DAMAGES as error:
            raise _damaged(self._path, error) from None

    def part(self, tree: Tree) -> Tree:
        """Return a part of the tree with its arrays, which are read-only. Raises CheckpointError."""
        try:
            return _with_arrays(tree, self._arrays)
        except _DAMAGES as error:
            raise _damaged(self._path, error) from None


def _read_document(path: Path) -> Any:  # noqa: ANN401 - as JSON has it
    if not (path / "checkpoint.json").is_file():
        what = "has no checkpoint.json" if path.exists() else "does not exist"
        of_a_run = max(path.glob("checkpoints/iteration-*"), default=None)
        such = "" if of_a_run is None else f", such as {of_a_run}"
        raise CheckpointError(f"{path} {what}; give the directory of a checkpoint{such}")
    try:
        document = json.loads((path / "checkpoint.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: checkpoint.json is damaged ({error}); use an older checkpoint"
        ) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of Outrider; give a directory that `save` or a run wrote"
        )
    if document.get("version") != VERSION:
        msg = (
            f"checkpoint {path} has format version {document.get('version')} and this release reads "
            f"{VERSION}; read it with the release that wrote it"
        )
        raise CheckpointError(msg)
    return document


_DAMAGES = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    NotImplementedError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
"""What `zipfile` and NumPy raise where bytes are otherwise than they were written."""


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path} cannot be read: arrays.npz is damaged ({error}); use an older checkpoint"
    )


def _checksum(file: BufferedReader | BufferedRandom) -> str:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


def _without_arrays(tree: Tree, arrays: dict[str, Any]) -> Tree:
    match tree:
        case None | bool() | str():
            return tree
        case np.ndarray() if not tree.dtype.hasobject:
            name = f"a{len(arrays)}"
            arrays[name] = tree
            return {"__array__": name}
        case int():
            return int(tree)
        case float():
            return float(tree)
        case list() | tuple():
            return [_without_arrays(child, arrays) for child in tree]
        case dict() if all(isinstance(key, str) for key in tree):
            return {key: _without_arrays(child, arrays) for key, child in tree.items()}
    msg = (
        f"{type(tree).__name__} cannot stand in a checkpoint; use dicts with string keys, lists, str, int, "
        "float, bool, None and NumPy arrays"
    )
    raise TypeError(msg)


def _with_arrays(tree: Tree, arrays: dict[str, Any] | MappedArrays) -> Tree:
    if isinstance(tree, list):
        return [_with_arrays(child, arrays) for child in tree]
    if isinstance(tree, dict):
        if set(tree) == {"__array__"}:
            return arrays[tree["__array__"]]
        return {key: _with_arrays(child, arrays) for key, child in tree.items()}
    return tree


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
