"""Files that are there completely or as they were before."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when a disk, a quota or a file is full."""


class NotWrittenError(OSError):
    """A file or directory that could not be written, in one sentence; nothing of it is left."""


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file beside its place and rename it. Raises NotWrittenError."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):  # which a read-only disk raises even where there is nothing to delete
            unfinished.unlink()
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> NotWrittenError:
    """Say in one sentence why `path` could not be written."""
    if error.errno in FULL:
        return NotWrittenError(
            f"{path} was not written: the disk is full; free some space or choose another place"
        )
    return NotWrittenError(f"{path} was not written: {error.strerror or error}; choose another place")
