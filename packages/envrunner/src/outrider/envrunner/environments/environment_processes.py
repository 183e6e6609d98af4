"""The processes of all copies of an environment: made together, made anew one by one, ended together."""

# ruff: noqa: ANN401 - what environments say of themselves has no common type

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from outrider.envrunner.environments.environment_process import (
    CLOSE_TIMEOUT_S,
    EnvironmentKilledError,
    EnvironmentProcess,
    EnvironmentProcessError,
)


class EnvironmentProcesses:
    """One process a copy; whoever goes through them may replace some meanwhile."""

    def __init__(self, start: Callable[[int], EnvironmentProcess], num_envs: int) -> None:
        """Start all, by index, without waiting for them."""
        self._start = start
        self._running = [start(index) for index in range(num_envs)]

    def __iter__(self) -> Iterator[EnvironmentProcess]:
        return iter(tuple(self._running))

    def __getitem__(self, index: int) -> EnvironmentProcess:
        return self._running[index]

    @property
    def ids(self) -> list[int]:
        """Of each copy, for the system."""
        return [process.pid for process in self._running]

    @contextmanager
    def ended_by_errors(self) -> Iterator[None]:
        """End all where the block raises; what is wrong with an environment is raised as a ValueError."""
        try:
            yield
        except BaseException as error:
            for process in self._running:
                process.kill()
            if isinstance(error, EnvironmentProcessError):
                raise ValueError(str(error)) from error
            raise

    def introductions(self) -> list[Any]:
        """Wait for all environments; one whose process is killed meanwhile is made once more."""
        return [self._introduction(index) for index in range(len(self._running))]

    def replace(self, index: int) -> EnvironmentProcess:
        """Return a new process in the place of one that failed, once its environment is made."""
        process = self._start_again(index)
        process.introduction()
        return process

    def close(self) -> None:
        """End every process; environments have a moment for closing."""
        for process in self._running:
            process.hang_up()
        deadline = monotonic() + CLOSE_TIMEOUT_S
        for process in self._running:
            process.join(deadline)

    def _introduction(self, index: int) -> Any:
        try:
            return self._running[index].introduction()
        except EnvironmentKilledError:
            return self._start_again(index).introduction()

    def _start_again(self, index: int) -> EnvironmentProcess:
        self._running[index].kill()  # closes its pipe, too
        process = self._running[index] = self._start(index)
        return process
