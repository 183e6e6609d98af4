"""A short form of the soak: processes die, training goes on, and nothing is left."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).resolve().parents[1] / "tools" / "soak.py"


def test_training_goes_on_while_runners_environments_and_ranks_are_killed() -> None:
    flags = ["--minutes", "0.25", "--pause-s", "1", "2", "--wanted-return", "5"]
    done = subprocess.run(
        [sys.executable, str(SOAK), *flags], check=False, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    killed = sum(map(int, re.findall(r"killed \w+ +(\d+)", done.stdout)))
    assert killed >= 3
