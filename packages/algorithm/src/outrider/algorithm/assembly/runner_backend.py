"""What `env_runner_backend="auto"` chooses: Ray where a run asks for it in any way, processes otherwise."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TypeVar

from outrider.algorithm.assembly.runner_checks import ONLY_ON_RAY
from outrider.algorithm.settings.resource_settings import ResourceSettings
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.envrunner import EnvRunnerSettings
from outrider.envrunner.gateway_settings import Backend

R = TypeVar("R", bound=RunSettings)


def with_backend(settings: R) -> R:
    """Return settings in which "auto" has become "ray" or "process", where the run starts runners at all.

    Ray it is where something of it is set, where this process is connected to one, where learners are
    actors anyway, and where gRPC, which processes need, is not installed.
    """
    runners = settings.env_runners
    if runners.env_runner_backend != "auto" or not runners.num_own_env_runners:
        return settings
    backend: Backend = "ray" if _asks_for_ray(settings) or find_spec("grpc") is None else "process"
    return replace(settings, env_runners=replace(runners, env_runner_backend=backend))


def _asks_for_ray(settings: RunSettings) -> bool:
    runners, plain = settings.env_runners, EnvRunnerSettings()
    num_learners = settings.learners.num_learners
    return (
        any(
            getattr(runners, name) != getattr(plain, name)
            for name in (*ONLY_ON_RAY, "num_gpus_per_env_runner")
        )
        or (num_learners != "auto" and num_learners > 0)
        or settings.resources != ResourceSettings()
        or bool(os.environ.get("RAY_ADDRESS"))
        or _is_connected()
    )


def _is_connected() -> bool:
    """Tell without importing Ray: who has not imported it is connected to none."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
