"""outrider evaluate RUN_DIR: plays episodes with most likely actions or drawn ones, and films one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from outrider.algorithm.commands.flags import Parser, reading
from outrider.algorithm.figure import figure
from outrider.algorithm.policies.policy_words import policy_lines, sum_of_agents

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Evaluate and return the exit code."""
    parser = Parser(
        prog="outrider evaluate",
        description="Play episodes with fixed seeds and most likely actions, and print their returns.",
    )
    parser.add_argument("run", help="directory of a run, or of a checkpoint")
    parser.add_argument("--num-episodes", **reading(int), help="(default: as the run was evaluated)")
    parser.add_argument("--seed", **reading(int), help="of the first episode (default: likewise)")
    parser.add_argument("--explore", action="store_true", help="draw actions, as in training")
    parser.add_argument("--video", type=Path, metavar="OUT.mp4", help="film the first episode as well")
    typed = parser.parse(arguments)
    if typed.num_episodes is not None and typed.num_episodes < 1:
        parser.error(f"--num-episodes {typed.num_episodes} is too few; give at least 1")
    if typed.explore and typed.video:
        parser.error("--video films most likely actions; leave out --explore, or evaluate without --video")

    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.saved.run_directory import checkpoint_at
    from outrider.algorithm.settings.evaluation_settings import check_evaluation_seed
    from outrider.envrunner.sampling.film import Film

    if typed.seed is not None:
        check_evaluation_seed(typed.seed)
    if typed.video:
        Film(typed.video)  # what is wrong with the path is known before anything is played
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # nor does a film need a window
    with Algorithm.from_checkpoint(checkpoint_at(typed.run), to_train=False) as algorithm:
        # First: what cannot be filmed is known before all episodes are played.
        film = algorithm.record_video(typed.video, seed=typed.seed) if typed.video else None
        result = algorithm.evaluate(typed.num_episodes, seed=typed.seed, explore=typed.explore)
        mean, deviation, low, high = (
            figure(result[f"episode_return_{name}"]) for name in ("mean", "std", "min", "max")
        )
        sys.stdout.write(
            f"return    {mean} ± {deviation}{sum_of_agents(result)}  from {low} to {high}\n"
            f"length    {result['episode_length_mean']:.1f} steps\n"
            f"episodes  {result['num_episodes']}\n"
        )
        sys.stdout.writelines(policy_lines(result))
        if film is not None:
            sys.stdout.write(
                f"video     {film.path}  (return {figure(film.episode_return)}, {film.num_steps} steps)\n"
            )
    return 0
