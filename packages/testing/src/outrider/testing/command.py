"""A command in a process of its own, for tests that read what it says and see how it ends."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self


class Command:
    """Runs from its making to the end of its `with` block, which kills it where it still does."""

    def __init__(self, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        """Start it, with the environment variables of this process where none are given."""
        self._name = " ".join(arguments)
        self._process = subprocess.Popen(  # noqa: S603 - a test's own command
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._text = ""
        self._news = threading.Condition()
        self._is_silent = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def text(self) -> str:
        """What it has said so far, on either stream."""
        with self._news:
            return self._text

    def wait_for(self, pattern: str, *, within_s: float) -> re.Match[str]:
        """Wait until it has said what `pattern` finds. Raises AssertionError where it does not."""

        def is_known() -> bool:
            return self._is_silent or re.search(pattern, self._text) is not None

        with self._news:
            self._news.wait_for(is_known, within_s)
            found = re.search(pattern, self._text)
            assert found is not None, f"{self._name} has not said {pattern!r}, but:\n{self._text}"
            return found

    def wait(self, *, within_s: float) -> int:
        """Wait for its end and return the exit code. Raises AssertionError where it does not end."""
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._name} did not end in {within_s} s:\n{self.text}") from None
        self._reader.join(within_s)
        return code

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._text += line
                self._news.notify_all()
        with self._news:
            self._is_silent = True
            self._news.notify_all()
