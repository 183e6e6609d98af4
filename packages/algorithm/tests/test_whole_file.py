from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from outrider.algorithm.saved.whole_file import NotWrittenError, write_whole


def test_a_read_only_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(NotWrittenError, match=r"policy was not written: Read-only file system; choose"):
        write_whole(tmp_path / "policy", b"")
