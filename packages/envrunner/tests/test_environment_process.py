"""A process ends when nobody needs it any more, and tells in words what went wrong in it."""

from __future__ import annotations

import functools
from time import monotonic
from typing import Any

import pytest

from outrider.envrunner.environments.environment_process import (
    CLOSE_TIMEOUT_S,
    EnvironmentProcess,
    EnvironmentProcessError,
)
from outrider.envrunner.environments.served_environment import ServedEnvironment
from outrider.testing.scripted import ScriptedEnvironment


def test_a_process_ends_with_its_parent_though_its_environment_hangs() -> None:
    make = functools.partial(ScriptedEnvironment, hangs_at=1)
    process = EnvironmentProcess(functools.partial(ServedEnvironment, make), None)
    process.introduction()
    process.request("reset", (0, None))
    process.answer(monotonic() + 20)
    process.request("step", 0)
    process.hang_up()  # what the process sees of a parent that was killed
    assert process._process.wait(CLOSE_TIMEOUT_S + 20) == 1


def test_an_error_that_cannot_be_pickled_is_told_in_words() -> None:
    class Unspeakable(ScriptedEnvironment):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            error = RuntimeError("the bridge is out")
            error.bridge = lambda: None  # type: ignore[attr-defined]
            raise error

    process = EnvironmentProcess(functools.partial(ServedEnvironment, Unspeakable), None)
    process.introduction()
    process.request("reset", (0, None))
    with pytest.raises(EnvironmentProcessError, match="RuntimeError: the bridge is out"):
        process.answer(monotonic() + 20)
    process.kill()
