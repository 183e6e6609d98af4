"""outrider resume RUN_DIR: goes on from the newest checkpoint of a run."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from outrider.algorithm.commands.flags import FlagGroup, Parser, add_flags, given_settings
from outrider.algorithm.settings.stopping import StopRule, StopSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.saved.run_directory import RunDirectory


def run(arguments: Sequence[str]) -> int:
    """Resume and return the exit code."""
    parser = Parser(
        prog="outrider resume",
        usage="outrider resume RUN_DIR [--stop-... VALUE]",
        description="Go on with a run from its newest checkpoint, with the settings it was started with.",
    )
    parser.add_argument("run_dir", help="directory of the run")
    parser.add_argument("--no-tensorboard", action="store_true", help="write no TensorBoard events")
    parser.add_argument("--plain", action="store_true", help="print plain lines also in a terminal")
    groups = [FlagGroup(section="stopping", settings=StopSettings, prefix="stop-")]
    add_flags(parser, groups)
    typed = parser.parse(arguments)
    stop = given_settings(typed, groups)["stopping"]

    from outrider.algorithm.saved.run_directory import RunDirectory
    from outrider.algorithm.settings.setting_value import to_json
    from outrider.algorithm.views.run_view import train_and_report

    directory = RunDirectory.open(typed.run_dir)
    with directory.held(), _newest(directory) as algorithm:
        stopping = replace(algorithm.settings.stopping, **stop)
        algorithm.settings = replace(algorithm.settings, stopping=stopping)
        done = [line for line in directory.progress() if line["iteration"] <= algorithm.iteration]
        rule = StopRule(stopping, reward_threshold=algorithm.reward_threshold)
        if done and (reason := rule.reason(done[-1])):
            sys.stdout.write(
                f"run {directory.path} is finished: {reason}; raise that limit to go on (see --help)\n"
            )
            return 0
        directory.record_settings({"algorithm": algorithm.name, "settings": to_json(algorithm.settings)})
        directory.cut_progress(algorithm.iteration)
        return train_and_report(algorithm, directory, tensorboard=not typed.no_tensorboard, plain=typed.plain)


def _newest(directory: RunDirectory) -> Algorithm:
    from outrider.algorithm.algorithm import Algorithm

    checkpoint = directory.latest_checkpoint()
    sys.stdout.write(f"going on from  {checkpoint}\n")
    return Algorithm.from_checkpoint(checkpoint, run_name=directory.path.resolve().name)
