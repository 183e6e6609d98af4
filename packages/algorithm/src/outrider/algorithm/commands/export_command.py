"""outrider export RUN_DIR -o policy.onnx: writes the policy as one file that leaves the system."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from outrider.algorithm.commands.flags import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Export and return the exit code."""
    parser = Parser(
        prog="outrider export",
        description="Write the policy as an ONNX file: observations in, most likely action out.",
    )
    parser.add_argument("run", help="directory of a run, or of a checkpoint")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("policy.onnx"), help="(default: %(default)s)"
    )
    parser.add_argument("--policy", metavar="NAME", help="which one, where there are several")
    typed = parser.parse(arguments)

    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.saved.checkpointed_policy import chosen_policy
    from outrider.algorithm.saved.run_directory import checkpoint_at

    checkpoint = checkpoint_at(typed.run)
    policy = chosen_policy(checkpoint, typed.policy)  # before thousands of policies are made
    with Algorithm.from_checkpoint(checkpoint, to_train=False) as algorithm:
        path = algorithm.export_policy(typed.output, policy=policy)
    sys.stdout.write(f"policy  {path}  ({path.stat().st_size:,} bytes)\n")
    return 0
