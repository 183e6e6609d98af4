"""Makes the vector environment that a runner steps."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import VectorizeMode

from outrider.envrunner.environments.environment import (
    EnvironmentSettings,
    make_environment,
    make_native_vector,
    spec_of,
)
from outrider.envrunner.environments.sync_vector import OnFailure, SyncVector
from outrider.envrunner.settings import EnvRunnerSettings


def make_vector_environment(
    environment: EnvironmentSettings, settings: EnvRunnerSettings, *, num_envs: int, on_failure: OnFailure
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Make `num_envs` copies in the vectorize mode of the settings.

    SYNC and ASYNC replace a copy that fails and say so to `on_failure`; a native vector environment
    cannot, so its errors pass to the caller. Raises ValueError where the environment cannot be made.
    """
    if settings.gym_env_vectorize_mode is VectorizeMode.VECTOR_ENTRY_POINT:
        return make_native_vector(environment, num_envs)
    make = [functools.partial(make_environment, environment, checked=False)] * num_envs
    if settings.gym_env_vectorize_mode is VectorizeMode.ASYNC:
        from outrider.envrunner.environments.async_vector import AsyncVector

        timeout_s, spec = settings.env_step_timeout_s, spec_of(environment)
        return AsyncVector(make, on_failure=on_failure, timeout_s=timeout_s, spec=spec)
    return SyncVector(make, on_failure=on_failure)


def environment_seed(seed: int, environment: int, restart: int = 0, incarnation: int = 0) -> int:
    """Return the seed of an environment copy of a run, another one after each restart.

    Every incarnation of its runner has seeds of its own.
    """
    later = (2, incarnation) if incarnation else ()  # actions are drawn from (environment, 0, 1)
    sequence = np.random.SeedSequence(seed, spawn_key=(environment, restart, *later))
    return int(sequence.generate_state(1)[0] >> 1)
