"""Time from typing `outrider train ppo` to the first environment step, and what it is made of.

    python packages/algorithm/benchmarks/first_step.py --rounds 5 --num-env-runners 2

Each round starts the command in a new process, with an environment that writes down the time of its
first step after training began. Beside it, the same round times a bare interpreter and the imports
that the command cannot do without, each in a process of its own. With runners it also times the command
that starts a Ray of its own and that many of them, to the last step of the first fragment; 10 s is the
bar.
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
    """CartPole that notes when a copy has taken so many steps.

    In the process of the command the first copy only shows its spaces; a runner has that one alone.
    """

    num_made = 0
    wanted = int(os.environ["WANTED_STEPS"])

    def __init__(self):
        super().__init__()
        Clocked.num_made += 1
        self.trains = Clocked.num_made > 1 or self.wanted > 1
        self.num_steps = 0

    def step(self, action):
        path = os.environ["FIRST_STEP_FILE"]
        self.num_steps += 1
        if self.trains and self.num_steps >= self.wanted and not os.path.exists(path):
            with open(path, "w") as file:
                file.write(repr(time.time()))
        return super().step(action)

gym.register("Clocked-v0", Clocked, max_episode_steps=500)
'''

FRAGMENT_LENGTH = 64
IMPORTS = {
    "interpreter": "pass",
    "torch": "import torch",
    "gymnasium": "import gymnasium",
    "onnxruntime": "import onnxruntime",
}


def first_step_s(folder: Path, *, num_env_runners: int = 0) -> float:
    """Return how long the command takes to its first step, or on Ray to the end of the first fragment."""
    num_steps = FRAGMENT_LENGTH if num_env_runners else 1
    stamp = folder / "first-step"
    stamp.unlink(missing_ok=True)
    started_s = time.time()
    command = [sys.executable, "-m", "outrider.algorithm", "train", "ppo", "--env", "clocked:Clocked-v0"]
    command += ["--stop-iterations", "1", "--run-dir", str(folder / f"run-{started_s}")]
    if num_env_runners:
        command += ["--num-env-runners", str(num_env_runners), "--env-runner-backend", "ray"]
        command += ["--rollout-fragment-length", str(FRAGMENT_LENGTH)]
        command += ["--train-batch-size-per-learner", str(FRAGMENT_LENGTH * num_env_runners)]
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "FIRST_STEP_FILE": str(stamp),
        "WANTED_STEPS": str(num_steps),
    }
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
    parser.add_argument(
        "--num-env-runners",
        type=int,
        default=0,
        metavar="N",
        help="time the command with N runners on Ray too",
    )
    given = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"torch {metadata.version('torch')}, outrider-algorithm {metadata.version('outrider-algorithm')}"
    )
    on_ray = f"first fragment of {given.num_env_runners} runners"
    names = ["first step", *([on_ray] if given.num_env_runners else []), *IMPORTS]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clocked.py").write_text(ENVIRONMENT)
        for _ in range(given.rounds):
            seconds["first step"].append(first_step_s(folder))
            if given.num_env_runners:
                seconds[on_ray].append(first_step_s(folder, num_env_runners=given.num_env_runners))
            for what, statement in IMPORTS.items():
                seconds[what].append(import_s(statement))
    for what, values in seconds.items():
        print(f"{what:{max(map(len, names))}} {median(values):6.2f} s [{min(values):.2f}, {max(values):.2f}]")


if __name__ == "__main__":
    main()
