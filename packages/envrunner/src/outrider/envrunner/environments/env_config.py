"""Checks env_config against what a constructor takes, before it is called."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet


def check_env_config(
    name: str,
    creator: Callable[..., Any],
    env_config: Mapping[str, Any],
    *,
    given: AbstractSet[str] = frozenset(),
    ours: AbstractSet[str] = frozenset(),
    extra: AbstractSet[str] = frozenset(),
) -> None:
    """Raise ValueError where the environment `name` would not take an argument, or lacks one.

    `given` arguments have a value already and may be overridden, `ours` may not; `extra` ones never
    reach the constructor. A constructor with **kwargs decides for itself.
    """
    parameters = _keywords(creator)
    if parameters is None:
        return
    if "num_envs" in ours and all(parameter.name != "num_envs" for parameter in parameters):
        raise ValueError(
            f"{name} takes no num_envs, so that it makes one copy; use vectorize mode SYNC or ASYNC"
        )
    allowed = ({parameter.name for parameter in parameters} | extra) - ours
    for key in env_config:
        if key not in allowed:
            listed = ", ".join(sorted(allowed)) or "no arguments"
            raise ValueError(f"env_config has {key!r}, which {name} does not take; it takes {listed}")
    needed = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    missing = sorted(needed - given - env_config.keys())
    if "num_envs" in missing:
        raise ValueError(
            f"{name} needs num_envs, as what makes many copies at once does; use vectorize mode "
            "VECTOR_ENTRY_POINT"
        )
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}; give a value for each in env_config")


def takes(creator: Callable[..., Any], keyword: str) -> bool:
    """Tell whether a callable can be called with this keyword argument."""
    parameters = _keywords(creator)
    return parameters is None or any(parameter.name == keyword for parameter in parameters)


def _keywords(creator: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """List what can be given by name; None where anything can, or where nobody knows."""
    try:
        parameters = list(inspect.signature(creator).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_name = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return [parameter for parameter in parameters if parameter.kind in by_name]
