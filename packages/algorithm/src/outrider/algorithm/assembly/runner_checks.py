"""Checks that what is said of runners fits together, before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.algorithm.assembly.farm_assembly import check_gateway
from outrider.algorithm.settings.ignored import warn_ignored

if TYPE_CHECKING:
    from outrider.algorithm.settings.run_settings import RunSettings
    from outrider.envrunner import EnvRunnerSettings

ONLY_ON_RAY = ("num_cpus_per_env_runner", "custom_resources_per_env_runner", "env_runner_runtime_env")
"""Settings that reserve what only a cluster has to give."""
ONLY_ELSEWHERE = (
    "sample_timeout_s",
    "max_requests_in_flight_per_env_runner",
    "max_env_runner_restarts",
    "runner_start_timeout_s",
    "env_runner_backend",
    "min_runners",
    "max_policies_per_env_runner",
)
"""Settings of runners that mean nothing to one in this process."""
ONLY_FOR_FARMS = (
    "num_farm_runners",
    "max_runners",
    "join_timeout_s",
    "reconnect_timeout_s",
    "token_file",
    "tls_certificate",
    "tls_key",
    "tls_client_ca",
    "insecure",
    "max_runners_per_token",
    "max_messages_per_s",
    "fragment_compression",
    "weights_dtype",
    "act_batch_delay_s",
)
"""Settings of the gateway."""


def check_runners(settings: RunSettings) -> None:
    """Raise ValueError in one sentence where they do not fit; warn of what is set and has no effect."""
    runners = settings.env_runners
    _check_farms(runners)
    if settings.environment.env is None:
        _check_without_environment(settings)
    if not runners.num_env_runners:
        _check_no_gpu(runners, "num_env_runners=0 samples in this one; set num_env_runners to at least 1")
        warn_ignored(
            runners, ONLY_ON_RAY + ONLY_ELSEWHERE, "with num_env_runners=0: the runner is in this process"
        )
    elif not runners.num_own_env_runners:
        _check_no_gpu(runners, "all runners come from farms; set num_farm_runners below num_env_runners")
        warn_ignored(runners, (*ONLY_ON_RAY, "env_runner_backend"), "where all runners come from farms")
    elif runners.env_runner_backend == "process":
        _check_no_gpu(runners, 'env_runner_backend="process" reserves nothing; set env_runner_backend="ray"')
        warn_ignored(runners, ONLY_ON_RAY, 'with env_runner_backend="process": only a cluster has it to give')
    if runners.num_env_runners and settings.multi_agent.policies is None:
        warn_ignored(runners, ("max_policies_per_env_runner",), "where there is one policy")


def _check_farms(runners: EnvRunnerSettings) -> None:
    if runners.listen is None and runners.num_farm_runners:
        raise ValueError(
            f"num_farm_runners={runners.num_farm_runners} waits for farms, and without listen none can "
            "connect; give listen (listen='0.0.0.0:50051'), or leave num_farm_runners out"
        )
    if runners.listen is None:
        warn_ignored(runners, ONLY_FOR_FARMS, "without listen: no farm can connect")
    elif not runners.num_env_runners:
        raise ValueError(
            f"listen={runners.listen!r} lets in runners of farms, and num_env_runners=0 samples in this "
            "process; set num_env_runners to how many an update waits for, or leave listen out"
        )
    elif runners.num_own_env_runners < 0:
        raise ValueError(
            f"num_farm_runners={runners.num_farm_runners} is more than num_env_runners="
            f"{runners.num_env_runners}, which counts them too; raise that, or give max_runners, which says "
            "how many may join"
        )
    else:
        check_gateway(runners)
    num_runners = max(1, runners.num_own_env_runners + runners.num_seats)
    if runners.min_runners > num_runners:
        raise ValueError(
            f"min_runners={runners.min_runners} can never be reached with at most {num_runners} "
            f"runner{'s' * (num_runners != 1)}; lower it, or raise num_env_runners or max_runners"
        )


def _check_without_environment(settings: RunSettings) -> None:
    """Raise ValueError for what needs an environment that only farms have."""
    runners, wanted = settings.env_runners, settings.stopping.evaluation_return_mean
    if not runners.num_env_runners or runners.num_own_env_runners:
        raise ValueError(
            "env is None, and runners that the run starts itself need one; give env, or let all runners come "
            "from farms (num_env_runners=N, listen='0.0.0.0:50051')"
        )
    if settings.evaluation.evaluation_interval or isinstance(wanted, float | int):
        raise ValueError(
            "evaluations need an environment here, and env is None; leave evaluation_interval and "
            "evaluation_return_mean out, and stop by the return of training "
            "(stopping(episode_return_mean=...))"
        )


def _check_no_gpu(runners: EnvRunnerSettings, why: str) -> None:
    if runners.num_gpus_per_env_runner > 0:
        raise ValueError(
            f"num_gpus_per_env_runner={runners.num_gpus_per_env_runner:g} reserves GPUs for runners that the "
            f"run starts on a cluster, and {why}, or num_gpus_per_env_runner=0"
        )
