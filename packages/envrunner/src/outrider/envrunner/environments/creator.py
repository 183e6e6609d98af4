"""Calls what makes environments, and says in a sentence what went wrong."""

# ruff: noqa: ANN401 - environments of other libraries have no common type

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from gymnasium.envs.registration import EnvSpec, load_env_creator

from outrider.envrunner.environments.env_config import check_env_config, takes
from outrider.envrunner.environments.environment_id import name_missing_extra
from outrider.envrunner.environments.trial_step import one_line


def call_creator(
    make: Callable[..., Any], name: str, env_config: Mapping[str, Any], *, render_mode: str | None = None
) -> Any:
    """Make the environment `name`. Raises ValueError in one sentence."""
    check_env_config(name, make, env_config)
    try:
        return make(**{**env_config, **rendering(make, render_mode)})
    except Exception as error:
        raise not_made(name, make, error) from error


def call_vector_creator(
    make: Callable[..., Any],
    name: str,
    env_config: Mapping[str, Any],
    *,
    num_envs: int,
    render_mode: str | None = None,
) -> Any:
    """Make a vector environment of `num_envs` copies. Raises ValueError in one sentence."""
    check_env_config(name, make, env_config, given={"num_envs"}, ours={"num_envs"})
    try:
        return make(num_envs=num_envs, **{**env_config, **rendering(make, render_mode)})
    except Exception as error:
        raise not_made(name, make, error) from error


def rendering(creator: Callable[..., Any], render_mode: str | None) -> dict[str, str]:
    """Return the keyword argument that asks for a render mode, where there is one to ask for."""
    return {"render_mode": render_mode} if render_mode is not None and takes(creator, "render_mode") else {}


def apply_wrapper(wrapper: Callable[[Any], Any], env: Any) -> Any:
    """Wrap an environment, or close it. Raises ValueError in one sentence."""
    try:
        return wrapper(env)
    except Exception as error:
        env.close()
        raise ValueError(f"wrapper {creator_name(wrapper)} raised {one_line(error)}") from error


def load_entry_point(spec: EnvSpec, entry_point: Callable[..., Any] | str) -> Callable[..., Any]:
    """Import what makes the environment; where a package is missing, say how to install it."""
    if not isinstance(entry_point, str):
        return entry_point
    try:
        return load_env_creator(entry_point)
    except Exception as error:
        raise not_made(spec.id, entry_point, error) from error


def not_made(name: str, creator: Callable[..., Any] | str, error: Exception) -> ValueError:
    """Say that an environment could not be made, and why, or how to install what it lacks."""
    cure = name_missing_extra(creator, error)
    if cure:
        return ValueError(f"environment {name} needs a package that is not installed; {cure}")
    return ValueError(f"environment {name} could not be made: {one_line(error)}")


def creator_name(creator: Callable[..., Any]) -> str:
    if isinstance(creator, functools.partial):
        return creator_name(creator.func)
    return getattr(creator, "__qualname__", None) or repr(creator)
