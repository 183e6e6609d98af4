"""Time from typing `outrider train ppo` to the first environment step, and what it is made of.

    python packages/algorithm/benchmarks/first_step.py --rounds 5

Each round starts the command in a new process, with an environment that writes down the time of its
first step after training began. Beside it, the same round times a bare interpreter and the imports
that the command cannot do without, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from statistics import median

ENVIRONMENT = '''
import os, time
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv

class Clocked(CartPoleEnv):
    """CartPole that notes when the second of its copies is stepped: the first only shows its spaces."""

    num_made = 0

    def __init__(self):
        super().__init__()
        Clocked.num_made += 1
        self.trains = Clocked.num_made > 1

    def step(self, action):
        path = os.environ["FIRST_STEP_FILE"]
        if self.trains and not os.path.exists(path):
            with open(path, "w") as file:
                file.write(repr(time.time()))
        return super().step(action)

gym.register("Clocked-v0", Clocked, max_episode_steps=500)
'''

IMPORTS = {
    "interpreter": "pass",
    "torch": "import torch",
    "gymnasium": "import gymnasium",
    "onnxruntime": "import onnxruntime",
}


def first_step_s(folder: Path) -> float:
    stamp = folder / "first-step"
    stamp.unlink(missing_ok=True)
    started_s = time.time()
    command = [sys.executable, "-m", "outrider.algorithm", "train", "ppo", "--env", "clocked:Clocked-v0"]
    command += ["--stop-iterations", "1", "--run-dir", str(folder / f"run-{started_s}")]
    environment = os.environ | {"PYTHONPATH": str(folder), "FIRST_STEP_FILE": str(stamp)}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if not stamp.exists():
        raise RuntimeError(f"no step was taken: {result.stderr}")
    return float(stamp.read_text()) - started_s


def import_s(statement: str) -> float:
    started_s = time.time()
    subprocess.run([sys.executable, "-c", statement], check=True, timeout=120)
    return time.time() - started_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"torch {metadata.version('torch')}, outrider-algorithm {metadata.version('outrider-algorithm')}"
    )
    seconds: dict[str, list[float]] = {name: [] for name in ("first step", *IMPORTS)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clocked.py").write_text(ENVIRONMENT)
        for _ in range(rounds):
            seconds["first step"].append(first_step_s(folder))
            for what, statement in IMPORTS.items():
                seconds[what].append(import_s(statement))
    for what, values in seconds.items():
        print(f"{what:12} {median(values):6.2f} s [{min(values):.2f}, {max(values):.2f}]")


if __name__ == "__main__":
    main()
