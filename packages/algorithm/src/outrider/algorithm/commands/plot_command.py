"""outrider plot RUN_DIR...: draws runs as a PNG."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from outrider.algorithm.commands.flags import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Plot and return the exit code."""
    parser = Parser(
        prog="outrider plot",
        description="Draw the return and the losses of runs against environment steps.",
    )
    parser.add_argument("runs", nargs="+", help="directories of runs")
    parser.add_argument("-o", "--output", type=Path, default=Path("curve.png"), help="(default: %(default)s)")
    typed = parser.parse(arguments)

    from outrider.algorithm.commands.curve_plot import plot_runs
    from outrider.algorithm.saved.run_directory import RunDirectory

    plot_runs([RunDirectory.open(path) for path in typed.runs], typed.output)
    sys.stdout.write(f"curve  {typed.output}\n")
    return 0
