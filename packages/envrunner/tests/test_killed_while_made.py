from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from outrider.envrunner.environments.async_vector import AsyncVector


def make_once_killed(mark: Path, *, always: bool) -> gym.Env[Any, Any]:
    """Kill the process that makes the environment, the first time or every time."""
    if always or not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return gym.make("CartPole-v1")


def vector(mark: Path, *, always: bool) -> AsyncVector:
    make = partial(make_once_killed, mark, always=always)
    return AsyncVector([make], on_failure=lambda index, error: 0, timeout_s=30.0)


def test_an_environment_whose_process_is_killed_while_it_is_made_is_made_once_more(tmp_path: Path) -> None:
    made = vector(tmp_path / "mark", always=False)
    made.close()
    assert made.num_envs == 1


def test_an_environment_that_kills_its_process_whenever_it_is_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was killed by SIGKILL"):
        vector(tmp_path / "mark", always=True)
