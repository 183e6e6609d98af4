"""Environments that wait in the middle of a step, and so of a fragment, until some of them are killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium as gym

_DEADLINE_S = 60.0
_LOOK_S = 0.005


class Held(gym.Wrapper[Any, Any, Any, Any]):
    """Says in a file of `folder` which process it is in, and makes no step as long as it is to wait."""

    def __init__(self, env: gym.Env[Any, Any], folder: Path) -> None:
        super().__init__(env)
        self._mark, self._hold = folder / str(os.getpid()), _hold(folder)

    def step(self, action: Any) -> Any:
        self._mark.touch()
        while self._hold.exists():
            self._mark.touch()
            time.sleep(_LOOK_S)
        return self.env.step(action)


def _hold(folder: Path) -> Path:
    """Return the file that stops all steps as long as it exists."""
    return folder.with_name(f"{folder.name}-hold")


def processes(folder: Path) -> list[int]:
    """Return the processes in which environments have made a step."""
    return [int(path.name) for path in folder.iterdir()]


def kill_in_a_step(folder: Path, *, of: int, num_killed: int) -> threading.Thread:
    """Wait on a thread until so many processes are in a step, kill some, and let the others go on."""
    hold = _hold(folder)
    hold.touch()
    for path in folder.iterdir():  # who makes one from now on waits
        path.unlink()

    def kill() -> None:
        deadline = time.monotonic() + _DEADLINE_S
        try:
            while len(processes(folder)) < of:
                assert time.monotonic() < deadline, f"only {processes(folder)} make steps"
                time.sleep(_LOOK_S)
            for process in processes(folder)[:num_killed]:
                os.kill(process, signal.SIGKILL)
        finally:
            hold.unlink()

    killer = threading.Thread(target=kill)
    killer.start()
    return killer
