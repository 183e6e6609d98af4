"""Checks that settings fit each other, before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.algorithm.assembly.fragment_length import fragment_length
from outrider.algorithm.assembly.runner_checks import check_runners
from outrider.algorithm.settings.ignored import warn_ignored, warn_of
from outrider.learner.training.vtrace_settings import VTraceSettings

if TYPE_CHECKING:
    from outrider.algorithm.settings.run_settings import RunSettings

ONLY_ON_RAY = ("custom_resources_per_learner", "learner_runtime_env")
ONLY_FOR_RANKS = (
    *ONLY_ON_RAY,
    "learner_start_timeout_s",
    "num_updates_between_snapshots",
    "max_learner_restarts",
)
ONLY_ASYNCHRONOUS = ("max_staleness", "learner_queue_size", "min_time_s_per_iteration")


def is_asynchronous(settings: RunSettings) -> bool:
    """Tell whether runners and learners work side by side: IMPALA and APPO, where there are runners."""
    return isinstance(settings.training, VTraceSettings) and settings.env_runners.num_env_runners > 0


def check_resources(settings: RunSettings) -> int:
    """Return how many steps each environment copy takes for one fragment.

    Raises ValueError in one sentence: what was asked for, what there is, what to do. Warns of what is
    set and has no effect.
    """
    runners, learners = settings.env_runners, settings.learners
    num_learners = learners.num_learners
    assert num_learners != "auto"
    check_runners(settings)
    if learners.learner_address is not None:
        warn_ignored(learners, ONLY_ON_RAY, "with learner_address: the service has what it was started with")
    elif not num_learners:
        warn_ignored(learners, ONLY_FOR_RANKS, "with num_learners=0: there is no other process to learn in")
    warn_of(learners.ignored())
    if not settings.multi_agent.is_on:  # of policies it is said by name
        warn_of(settings.training.ignored())
    _warn_of_the_loop(settings)
    num_steps = fragment_length(
        runners,
        batch_size_per_learner=settings.training.train_batch_size_per_learner,
        num_learners=num_learners,
        is_asynchronous=is_asynchronous(settings),
    )
    _check_streams(settings, num_learners, num_steps)
    return num_steps


def _warn_of_the_loop(settings: RunSettings) -> None:
    runners = settings.env_runners
    if is_asynchronous(settings):
        warn_ignored(runners, ("sample_ahead",), "by an asynchronous algorithm, whose runners never wait")
        return
    if runners.num_env_runners:
        warn_ignored(
            runners,
            ("max_requests_in_flight_per_env_runner",),
            "by PPO, which asks for one fragment at a time",
        )
    if isinstance(settings.training, VTraceSettings):
        why = "with num_env_runners=0: collecting and learning take turns, and nothing gets old"
        warn_ignored(settings.training, ONLY_ASYNCHRONOUS, why)


def _check_streams(settings: RunSettings, num_learners: int, num_steps: int) -> None:
    """Raise ValueError where learners would get nothing: each takes whole streams of an update.

    With several agents learners have whole policies, or see for themselves to policies with few streams.
    """
    if settings.multi_agent.is_on:
        return
    runners = settings.env_runners
    num_envs, num_fragments = runners.num_envs_per_env_runner, max(1, runners.num_env_runners)
    if is_asynchronous(settings):
        batch_size = settings.training.train_batch_size_per_learner * max(1, num_learners)
        num_fragments = -(-batch_size // (num_steps * num_envs))
    num_streams = num_envs * num_fragments
    if num_learners > num_streams:
        raise ValueError(
            f"num_learners={num_learners} is too many: an update has {num_streams} "
            f"stream{'s' * (num_streams != 1)}, of which each learner takes whole ones; lower it, or raise "
            "num_envs_per_env_runner or num_env_runners"
        )
