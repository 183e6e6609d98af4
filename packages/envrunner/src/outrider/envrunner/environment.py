"""Makes environments from their settings, and says what is wrong with settings that make none.

Nothing here steps an environment for training; `make_environment` makes single copies, and
`make_native_vector` makes environments that step many copies at once by themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, VectorizeMode, load_env_creator
from gymnasium.wrappers import PassiveEnvChecker

from outrider.envrunner.environment_id import find_spec, name_missing_extra
from outrider.envrunner.spaces import space_from_gymnasium

if TYPE_CHECKING:
    from outrider import wire


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentSettings:
    """Which environment the policy lives in."""

    env: str | Callable[..., Any] = field(kw_only=False)
    """A registered Gymnasium id ("CartPole-v1"); "module:Id-v0", which imports the module first; or a
    callable that makes a `gymnasium.Env` (in vectorize mode VECTOR_ENTRY_POINT: that takes `num_envs`
    and makes a `gymnasium.vector.VectorEnv`). Every copy calls it anew, in ASYNC mode in a process of
    its own, so it must not hand out one environment twice."""
    env_config: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments for the environment's constructor or for the callable."""
    wrappers: tuple[Callable[[Any], Any], ...] = ()
    """Applied to every environment copy, the first one innermost; each takes an environment and returns
    one. Not possible in vectorize mode VECTOR_ENTRY_POINT, where there are no single copies."""

    def __post_init__(self) -> None:
        """Refuse values of the wrong type."""
        if not isinstance(self.env, str) and not callable(self.env):
            msg = f"env is {self.env!r}; give a registered id, or a callable that makes an environment"
            raise ValueError(msg)
        if not isinstance(self.env_config, Mapping):
            msg = f"env_config is {self.env_config!r}; give keyword arguments by name, as in {{'length': 5}}"
            raise ValueError(msg)  # noqa: TRY004 - errors of callers are ValueErrors
        for wrapper in self.wrappers:
            if not callable(wrapper):
                msg = f"wrappers has {wrapper!r}; each must be a callable that takes and returns an environment"
                raise ValueError(msg)


def make_environment(
    settings: EnvironmentSettings, *, render_mode: str | None = None, checked: bool
) -> gym.Env[Any, Any]:
    """Make one environment copy, wrapped as the settings say.

    With `checked`, Gymnasium's `PassiveEnvChecker` watches its first reset and step; use that for one
    environment and leave it out of the others. Raises ValueError in one sentence.
    """
    if isinstance(settings.env, str):
        env = _make_registered(settings, find_spec(settings.env), render_mode, checked=checked)
    else:
        env = _make_by_callable(settings.env, settings.env_config, render_mode, checked=checked)
    for wrapper in settings.wrappers:
        try:
            wrapped = wrapper(env)
        except Exception as error:
            env.close()
            msg = f"wrapper {_name(wrapper)} raised {_sentence(error)}"
            raise ValueError(msg) from error
        if not isinstance(wrapped, gym.Env):
            env.close()
            msg = f"wrapper {_name(wrapper)} returned {wrapped!r}; it must return a gymnasium.Env"
            raise ValueError(msg)
        env = wrapped
    return env


def make_native_vector(settings: EnvironmentSettings, num_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Make the environment's own implementation of `num_envs` copies, as VECTOR_ENTRY_POINT asks.

    Raises ValueError in one sentence, among others where the environment has no such implementation.
    """
    if settings.wrappers:
        msg = (
            f"wrappers {[_name(wrapper) for wrapper in settings.wrappers]} cannot be applied in vectorize mode "
            "VECTOR_ENTRY_POINT, which has no single copies; use SYNC or ASYNC, or wrap inside the callable"
        )
        raise ValueError(msg)
    if isinstance(settings.env, str):
        spec = find_spec(settings.env)
        if spec.vector_entry_point is None:
            msg = (
                f"environment {spec.id} has no vector entry point; allowed modes are SYNC and ASYNC, or register "
                "it with vector_entry_point="
            )
            raise ValueError(msg)
        name: str = spec.id
        creator = _load(spec, spec.vector_entry_point)
        _check_keywords(
            name, creator, settings.env_config, given={*spec.kwargs, "num_envs"}, extra={"max_episode_steps"}
        )
        mode = VectorizeMode.VECTOR_ENTRY_POINT
        make = lambda: gym.make_vec(spec, num_envs, mode, **settings.env_config)  # noqa: E731
    else:
        name, creator = _name(settings.env), settings.env
        _check_keywords(name, creator, settings.env_config, given={"num_envs"})
        make = lambda: creator(num_envs=num_envs, **settings.env_config)  # noqa: E731
    try:
        env = make()
    except Exception as error:
        raise _not_made(name, creator, error) from error
    if not isinstance(env, gym.vector.VectorEnv):
        msg = (
            f"{name} returned {env!r}; in vectorize mode VECTOR_ENTRY_POINT it must return a "
            "gymnasium.vector.VectorEnv: use SYNC or ASYNC for single environments"
        )
        raise ValueError(msg)  # noqa: TRY004 - errors of callers are ValueErrors
    return env


def spaces_of(
    settings: EnvironmentSettings, vectorize_mode: VectorizeMode
) -> tuple[wire.Space, wire.Space]:
    """Return the observation and the action space of one environment copy.

    They can depend on the mode: Atari's vector environment stacks frames and its single one does not.
    This makes one environment, tries a reset and a step of it under Gymnasium's checker, and closes it,
    so that what does not work fails here, once, before anything else starts.
    """
    if vectorize_mode is VectorizeMode.VECTOR_ENTRY_POINT:
        vector = make_native_vector(settings, 1)
        try:
            return (
                space_from_gymnasium(vector.single_observation_space),
                space_from_gymnasium(vector.single_action_space),
            )
        finally:
            vector.close()
    env = make_environment(settings, checked=True)
    try:
        spaces = space_from_gymnasium(env.observation_space), space_from_gymnasium(env.action_space)
        _try(env, settings)
    finally:
        env.close()
    return spaces


def _try(env: gym.Env[Any, Any], settings: EnvironmentSettings) -> None:
    """Reset and step once, so that an environment that cannot is found before training starts."""
    env.action_space.seed(0)
    name = settings.env if isinstance(settings.env, str) else _name(settings.env)
    doing = "reset"
    try:
        env.reset(seed=0)
        doing = "step"
        env.step(env.action_space.sample())
    except Exception as error:
        msg = f"environment {name} failed at its first {doing}: {_sentence(error)}; correct it before training"
        raise ValueError(msg) from error


def _make_registered(
    settings: EnvironmentSettings, spec: EnvSpec, render_mode: str | None, *, checked: bool
) -> gym.Env[Any, Any]:
    if spec.entry_point is None:
        msg = f"environment {spec.id} has only a vector entry point; use vectorize mode VECTOR_ENTRY_POINT"
        raise ValueError(msg)
    creator = _load(spec, spec.entry_point)
    _check_keywords(
        spec.id, creator, settings.env_config, given=set(spec.kwargs), extra={"max_episode_steps"}
    )
    keywords = dict(settings.env_config)
    if render_mode is not None:
        keywords["render_mode"] = render_mode
    try:
        return gym.make(
            spec, disable_env_checker=None if checked else True, **keywords
        )
    except Exception as error:
        raise _not_made(spec.id, creator, error) from error


def _make_by_callable(
    make: Callable[..., Any], env_config: Mapping[str, Any], render_mode: str | None, *, checked: bool
) -> gym.Env[Any, Any]:
    name = _name(make)
    _check_keywords(name, make, env_config)
    keywords = dict(env_config)
    if render_mode is not None:
        if not _takes(make, "render_mode"):
            msg = (
                f"{name} takes no render_mode, so its environment cannot be filmed; give it a keyword argument "
                "render_mode and hand that to the environment"
            )
            raise ValueError(msg)
        keywords["render_mode"] = render_mode
    try:
        env = make(**keywords)
    except Exception as error:
        raise _not_made(name, make, error) from error
    if not isinstance(env, gym.Env):
        msg = f"{name} returned {env!r}; it must return a gymnasium.Env"
        if isinstance(env, gym.vector.VectorEnv):
            msg += ", and a vector environment only in vectorize mode VECTOR_ENTRY_POINT"
        raise ValueError(msg)  # noqa: TRY004 - errors of callers are ValueErrors
    return PassiveEnvChecker(env) if checked else env


def _load(spec: EnvSpec, entry_point: Callable[..., Any] | str) -> Callable[..., Any]:
    """Import what makes the environment; where a package is missing, say how to install it."""
    if not isinstance(entry_point, str):
        return entry_point
    try:
        return load_env_creator(entry_point)
    except Exception as error:
        raise _not_made(spec.id, entry_point, error) from error


def _check_keywords(
    name: str,
    creator: Callable[..., Any],
    env_config: Mapping[str, Any],
    *,
    given: set[str] | None = None,
    extra: set[str] | None = None,
) -> None:
    """Refuse an env_config key that the constructor would refuse, and say what it takes.

    `given` arguments have a value already and may be overridden; `extra` ones are taken on the way.
    """
    try:
        parameters = inspect.signature(creator).parameters.values()
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    allowed = {p.name for p in parameters if p.kind in {p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD}}
    allowed |= extra or set()
    for key in env_config:
        if key not in allowed:
            listed = ", ".join(sorted(allowed)) or "no arguments"
            msg = f"env_config has {key!r}, which {name} does not take; it takes {listed}"
            raise ValueError(msg)
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind in {p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD}
        and p.name not in {*env_config, *(given or ())}
    ]
    if missing:
        msg = f"{name} needs {', '.join(missing)}; give {'it' if len(missing) == 1 else 'them'} in env_config"
        raise ValueError(msg)


def _takes(creator: Callable[..., Any], keyword: str) -> bool:
    parameters = inspect.signature(creator).parameters
    return keyword in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _not_made(name: str, creator: Callable[..., Any] | str, error: Exception) -> ValueError:
    cure = name_missing_extra(creator, error)
    if cure:
        return ValueError(f"environment {name} needs a package that is not installed; {cure}")
    return ValueError(f"environment {name} could not be made: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    """Write an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(".").removesuffix(": ")


def _name(creator: Callable[..., Any]) -> str:
    return getattr(creator, "__qualname__", None) or repr(creator)
