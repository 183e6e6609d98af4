"""Run scripts of the workspace at the same time: what uses one core leaves the others idle.

    python tools/side_by_side.py types unit     `hatch run types` and `hatch run unit`

What each says comes whole, when it ends.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_side_by_side(
    names: Sequence[str], run: Callable[[str], subprocess.CompletedProcess[str]], num_at_a_time: int
) -> list[str]:
    """Run them all, print what each said, and return those that failed."""
    failed: list[str] = []
    began = time.monotonic()
    with ThreadPoolExecutor(num_at_a_time) as pool:
        running = {pool.submit(run, name): name for name in names}
        for ended in as_completed(running):
            name, done = running[ended], ended.result()
            verdict = "done" if done.returncode == 0 else f"FAILED with {done.returncode}"
            print(f"{name}: {verdict}, {time.monotonic() - began:.0f} s after the start")
            print(done.stdout, flush=True)
            if done.returncode != 0:
                failed.append(name)
    return failed


def run_script(name: str) -> subprocess.CompletedProcess[str]:
    """Run one script of hatch, such as "types" or "alone.newest-wire:prove"."""
    return subprocess.run(
        ["hatch", "run", name],
        cwd=ROOT,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def main() -> int:
    """Run the scripts that the command line names."""
    names = sys.argv[1:]
    failed = run_side_by_side(names, run_script, len(names))
    if failed:
        print(f"failed: {', '.join(sorted(failed))}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
