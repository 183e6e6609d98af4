"""Makes environments that only this process has registered known to runners in other processes."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import gymnasium as gym
from gymnasium.envs.registration import VectorizeMode

if TYPE_CHECKING:
    from outrider.envrunner import EnvironmentSettings

IMPORTED_BY_ID = ("ALE/",)
"""Ids that bring in the module that registers them."""


def environment_elsewhere(settings: EnvironmentSettings, mode: object) -> EnvironmentSettings:
    """Return settings that mean the same in a process that imported nothing but Gymnasium.

    An id that the user's script registered becomes a callable that knows its registration; it then
    crosses as the user's own callables do. Others stay as they are.
    """
    env = settings.env
    if not isinstance(env, str) or ":" in env or env.startswith(IMPORTED_BY_ID):
        return settings
    spec = gym.registry.get(env)
    if spec is None or _home(spec).startswith("gymnasium."):
        return settings
    if mode == VectorizeMode.VECTOR_ENTRY_POINT:
        return replace(settings, env=functools.partial(gym.make_vec, spec, vectorization_mode=mode))
    return replace(settings, env=functools.partial(gym.make, spec, disable_env_checker=True))


def _home(spec: gym.envs.registration.EnvSpec) -> str:
    """Return the module of what makes the environment."""
    made_by = spec.entry_point or spec.vector_entry_point
    return made_by if isinstance(made_by, str) else getattr(made_by, "__module__", "")
