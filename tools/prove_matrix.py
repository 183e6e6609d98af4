"""Prove every cell of the matrix `alone`, two at a time: installing one leaves a core idle.

    python tools/prove_matrix.py              all cells
    python tools/prove_matrix.py lowest-wire  those that are named

Each cell's output comes whole, when it ends.
"""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NUM_AT_A_TIME = 2


def cells(root: Path) -> list[str]:
    """Return the cells of the matrix by name, such as "newest-wire", in the order in which it lists them."""
    workspace: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())
    matrix = workspace["tool"]["hatch"]["envs"]["alone"]["matrix"]
    return [f"{end}-{part}" for row in matrix for end in row["versions"] for part in row["package"]]


def prove_all(names: Sequence[str], prove: Callable[[str], subprocess.CompletedProcess[str]]) -> list[str]:
    """Prove the cells side by side, print what each said, and return those that failed."""
    failed: list[str] = []
    began = time.monotonic()
    with ThreadPoolExecutor(NUM_AT_A_TIME) as pool:
        running = {pool.submit(prove, name): name for name in names}
        for ended in as_completed(running):
            name, proof = running[ended], ended.result()
            verdict = "proven" if proof.returncode == 0 else f"FAILED with {proof.returncode}"
            print(f"alone {name}: {verdict}, {time.monotonic() - began:.0f} s after the start")
            print(proof.stdout, flush=True)
            if proof.returncode != 0:
                failed.append(name)
    return failed


def prove_cell(name: str) -> subprocess.CompletedProcess[str]:
    """Run one cell in the environment that hatch makes for it."""
    command = ["hatch", "run", f"alone.{name}:prove"]
    return subprocess.run(
        command, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def main() -> int:
    """Prove the cells that the command line names, or all."""
    known = cells(ROOT)
    unknown = set(sys.argv[1:]) - set(known)
    if unknown:
        print(
            f"there is no cell {', '.join(sorted(unknown))}; name some of {', '.join(known)}", file=sys.stderr
        )
        return 2
    failed = prove_all(sys.argv[1:] or known, prove_cell)
    if failed:
        print(f"not proven: {', '.join(sorted(failed))}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
