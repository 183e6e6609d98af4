"""Prove every cell of the matrix `alone`, two at a time: installing one leaves a core idle.

    python tools/prove_matrix.py              all cells
    python tools/prove_matrix.py lowest-wire  those that are named

Each cell's output comes whole, when it ends.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from side_by_side import run_script, run_side_by_side

ROOT = Path(__file__).resolve().parents[1]
NUM_AT_A_TIME = 2


def cells(root: Path) -> list[str]:
    """Return the cells of the matrix by name, such as "newest-wire", in the order in which it lists them."""
    workspace: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())
    matrix = workspace["tool"]["hatch"]["envs"]["alone"]["matrix"]
    return [f"{end}-{part}" for row in matrix for end in row["versions"] for part in row["package"]]


def main() -> int:
    """Prove the cells that the command line names, or all."""
    known = cells(ROOT)
    unknown = set(sys.argv[1:]) - set(known)
    if unknown:
        print(
            f"there is no cell {', '.join(sorted(unknown))}; name some of {', '.join(known)}", file=sys.stderr
        )
        return 2
    proofs = [f"alone.{name}:prove" for name in sys.argv[1:] or known]
    failed = run_side_by_side(proofs, run_script, NUM_AT_A_TIME)
    if failed:
        print(f"not proven: {', '.join(sorted(failed))}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
