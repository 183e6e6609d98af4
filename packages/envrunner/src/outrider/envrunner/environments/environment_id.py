"""Finds registered environments by id, and names the nearest ones or the missing package if it cannot."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING

import gymnasium as gym
from gymnasium.envs.registration import parse_env_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gymnasium.envs.registration import EnvSpec

_EXTRA_BY_MODULE = {"ale_py": "atari", "gymnasium.envs.mujoco": "mujoco", "gymnasium.envs.box2d": "box2d"}
"""The extra of this distribution that installs what a module of environments needs."""


def find_spec(env_id: str) -> EnvSpec:
    """Look up a registered id, after importing what registers it.

    "module:Id-v0" imports the module; an id under ALE/ imports ale-py. Raises ValueError in one sentence
    with the nearest ids.
    """
    module, separator, name = env_id.rpartition(":")
    if separator:
        _import_registering(module, env_id)
    if name.startswith("ALE/"):
        _import_atari(name)
    spec = gym.registry.get(name)
    if spec is None:
        raise _unknown(name, module)
    return spec


def find_callable(env_id: str) -> Callable[..., Any] | None:
    """Return what "module:name" names in a module, where no id is registered that reads so."""
    module, separator, name = env_id.rpartition(":")
    if not separator:
        return None
    _import_registering(module, env_id)
    if name in gym.registry:
        return None
    named: Any = sys.modules[module]
    for part in name.split("."):
        named = getattr(named, part, None)
    return named if callable(named) else None


def name_missing_extra(creator: Callable[..., Any] | str, error: Exception) -> str:
    """Say how to install what `creator` lacks, or return "" if that is not what went wrong."""
    if not isinstance(error, ImportError | gym.error.DependencyNotInstalled):
        return ""
    module = creator if isinstance(creator, str) else getattr(creator, "__module__", "")
    for prefix, extra in _EXTRA_BY_MODULE.items():
        if module.startswith(prefix):
            return f'install it with: pip install "outrider-envrunner[{extra}]"'
    return ""


def _import_registering(module: str, env_id: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"environment {env_id!r} asks to import {module}, and there is no module {error.name}; install "
            "it or run where Python finds it"
        ) from error
    except Exception as error:
        raise ValueError(
            f"environment {env_id!r} asks to import {module}, which raised {type(error).__name__}: {error}"
        ) from error


def _import_atari(name: str) -> None:
    try:
        importlib.import_module("ale_py")
    except ImportError as error:
        raise ValueError(
            f'environment {name} needs ale-py; install it with: pip install "outrider-envrunner[atari]"'
        ) from error


def _unknown(name: str, module: str) -> ValueError:
    """Describe an id that is not registered, with the nearest ones that are."""
    if importlib.util.find_spec("ale_py") is not None:
        importlib.import_module("ale_py")  # registers its ids, so that "Pong-v5" finds ALE/Pong-v5
    nearest = _nearest(name)
    if module:
        callables = [known for known, value in vars(sys.modules[module]).items() if callable(value)]
        nearest += (f"{module}:{known}" for known in difflib.get_close_matches(name, callables, n=2))
    if nearest:
        return ValueError(f"unknown environment {name!r}; did you mean {' or '.join(nearest)}?")
    if module:
        return ValueError(
            f"unknown environment {name!r}: {module} neither registers such an id nor has such a callable; "
            "correct the name, or register it there"
        )
    return ValueError(
        f'unknown environment {name!r}; register it first, write "module:{name}" to import what registers '
        "it, or give a callable that makes it"
    )


def _nearest(name: str) -> list[str]:
    """Return up to three registered ids like `name`, of each environment only its latest version."""
    latest: dict[str, EnvSpec] = {}
    for spec in gym.registry.values():
        path = f"{spec.namespace}/{spec.name}" if spec.namespace else spec.name
        if path not in latest or (spec.version or 0) > (latest[path].version or 0):
            latest[path] = spec
    try:
        namespace, wanted, _ = parse_env_id(name)
    except gym.error.Error:
        namespace, wanted = None, name
    path = f"{namespace}/{wanted}" if namespace else wanted
    exact = [spec.id for known, spec in latest.items() if path.lower() in {known.lower(), spec.name.lower()}]
    if exact:
        return sorted(exact, key=len)[:3]
    by_text: dict[str, str] = {}
    for known in sorted(latest, key=len):  # where names agree, the one without a namespace wins
        for text in (known, latest[known].name):
            by_text.setdefault(text.lower(), latest[known].id)
    close = difflib.get_close_matches(path.lower(), by_text, n=6, cutoff=0.6)
    close += difflib.get_close_matches(wanted.lower(), by_text, n=6, cutoff=0.75)
    return list(dict.fromkeys(by_text[text] for text in close))[:3]
