"""Trains an algorithm in front of a user: the view, the event file and the last words."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from outrider.algorithm.figure import figure
from outrider.algorithm.policies.policy_words import sum_of_agents
from outrider.algorithm.run.training_run import Outcome, TrainingRun
from outrider.algorithm.settings.setting_value import function_name
from outrider.algorithm.settings.stopping import StopRule
from outrider.algorithm.views.plain_lines import PlainLines
from outrider.algorithm.views.ray_metrics import RayMetrics, ray_is_running

if TYPE_CHECKING:
    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.run.callback import Callback
    from outrider.algorithm.saved.run_directory import RunDirectory
    from outrider.algorithm.views.live_view import LiveView


MAKERS = ("parallel_env", "env", "raw_env")
"""What PettingZoo calls the functions of all its environments, whose names are those of their modules."""


def train_and_report(
    algorithm: Algorithm,
    directory: RunDirectory,
    *,
    tensorboard: bool,
    plain: bool,
) -> int:
    """Run to the end, print where the results are, and return the exit code."""
    with ExitStack() as stack:
        view = _view(algorithm, plain=plain)
        stack.enter_context(view)
        callbacks: list[Callback] = [view]
        if tensorboard:
            from outrider.algorithm.views.tensorboard_events import TensorBoardEvents

            callbacks.append(stack.enter_context(TensorBoardEvents(directory.path)))
        if ray_is_running():
            callbacks.append(RayMetrics(directory.path.name))
        try:
            outcome = TrainingRun(algorithm, directory, callbacks=callbacks).run()
        except BaseException:
            stack.close()
            if directory.checkpoints():
                sys.stdout.write(
                    f"go on with  outrider resume {directory.path}  (from the last checkpoint)\n"
                )
            raise
    sys.stdout.write(_last_words(outcome, directory))
    return 128 + outcome.interrupted_by if outcome.interrupted_by else 0  # as shells have it


def _view(algorithm: Algorithm, *, plain: bool) -> PlainLines | LiveView:
    settings = algorithm.settings
    num_env_runners = settings.env_runners.num_env_runners
    if plain or not sys.stdout.isatty():
        return PlainLines(num_env_runners=num_env_runners)
    from outrider.algorithm.views.live_view import LiveView

    title = f"{algorithm.name} on {env_name(settings.environment.env)}, seed {settings.debugging.seed}"
    stop = StopRule(settings.stopping, reward_threshold=algorithm.reward_threshold)
    return LiveView(title, stop, num_env_runners=num_env_runners)


def env_name(env: Any) -> str:  # noqa: ANN401 - an id or a function
    """Return how an environment is called."""
    if env is None:
        return "remote"
    text = env if isinstance(env, str) else function_name(env) or ""
    module, _, name = text.partition(":")
    if isinstance(env, str) and not name.isidentifier():
        return env
    if name in MAKERS:
        return module.rpartition(".")[2]
    return name if isinstance(env, str) else str(getattr(env, "__name__", None) or name or type(env).__name__)


def _last_words(outcome: Outcome, directory: RunDirectory) -> str:
    run = directory.path
    lines = []
    if outcome.evaluation:
        number = outcome.evaluation["num_episodes"]
        mean = figure(outcome.evaluation["episode_return_mean"])
        deviation = figure(outcome.evaluation["episode_return_std"])
        lines.append(
            f"evaluated   {mean} ± {deviation}{sum_of_agents(outcome.evaluation)} over {number} "
            f"episode{'s' * (number != 1)} without exploration"
        )
    lines.append(f"checkpoint  {outcome.checkpoint}")
    lines.append(f"curve       {directory.progress_path}  (outrider plot {run} -o curve.png)")
    if outcome.interrupted_by:
        lines.append(f"go on with  outrider resume {run}")
    return "\n".join([*lines, ""])
