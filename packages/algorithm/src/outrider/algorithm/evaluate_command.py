"""outrider evaluate RUN_DIR: plays episodes without exploration, and films one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from outrider.algorithm.flags import FlagGroup, Parser, add_flags, given_settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Evaluate and return the exit code."""
    from outrider.algorithm.evaluation import EvaluationSettings

    parser = Parser(
        prog="outrider evaluate",
        description="Play episodes with fixed seeds and without exploration, and print their returns.",
    )
    parser.add_argument("run", help="directory of a run, or of a checkpoint")
    parser.add_argument("--num-episodes", type=int, help="the same as --evaluation-duration")
    parser.add_argument("--video", type=Path, metavar="OUT.mp4", help="film the first episode as well")
    groups = [FlagGroup(section="evaluation", settings=EvaluationSettings)]
    add_flags(parser, groups)
    typed = parser.parse(arguments)
    fields = given_settings(typed, groups)["evaluation"]
    if typed.num_episodes is not None:
        fields["evaluation_duration"] = typed.num_episodes

    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.run_directory import checkpoint_at

    with Algorithm.from_checkpoint(checkpoint_at(typed.run)) as algorithm:
        settings = replace(algorithm.settings.evaluation, **fields)
        result = algorithm.evaluate(settings)
        low, high = result["evaluation/episode_return_min"], result["evaluation/episode_return_max"]
        sys.stdout.write(
            f"return    {result['evaluation/episode_return_mean']:.1f} ± "
            f"{result['evaluation/episode_return_std']:.1f}  from {low:.1f} to {high:.1f}\n"
            f"length    {result['evaluation/episode_length_mean']:.1f} steps\n"
            f"episodes  {result['evaluation/num_episodes']}\n"
        )
        if typed.video:
            film = algorithm.record_video(typed.video)
            sys.stdout.write(
                f"video     {film.path}  (return {film.episode_return:.1f}, {film.num_steps} steps)\n"
            )
    return 0
