"""Makes environments from their settings, and says what is wrong with settings that make none.

Nothing here steps an environment for training. `make_environment` makes single copies, of which the
vectorize modes SYNC and ASYNC use many; `make_native_vector` makes what VECTOR_ENTRY_POINT uses, an
environment's own implementation of many copies at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, VectorizeMode
from gymnasium.wrappers import PassiveEnvChecker

from outrider import wire
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.creator import (
    apply_wrapper,
    call_creator,
    call_vector_creator,
    creator_name,
    load_entry_point,
    not_made,
    rendering,
)
from outrider.envrunner.environments.env_config import check_env_config, takes
from outrider.envrunner.environments.environment_id import find_callable, find_spec
from outrider.envrunner.environments.environment_kind import (
    SeveralAgentsError,
    can,
    is_for_several,
    is_vector_for_several,
)
from outrider.envrunner.environments.space_values import read_space_value, space_value
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.environments.trial_step import try_step


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentSettings:
    """Which environment the policy lives in."""

    env: str | Callable[..., Any] | None = field(kw_only=False)
    """A registered Gymnasium id ("CartPole-v1"); "module:Id-v0", which imports the module first; or a
    callable, also by name ("mpe2.simple_spread_v3:parallel_env"), that makes a `gymnasium.Env`, or for
    several agents a PettingZoo environment or one whose dictionaries are keyed by agent. In vectorize mode
    VECTOR_ENTRY_POINT it takes `num_envs` and makes a `gymnasium.vector.VectorEnv`, or for several agents a
    `MultiAgentVector`. Each copy calls it anew, in mode ASYNC in a process of its own, so it must not hand
    out one environment twice."""
    env_config: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments for the environment's constructor or for the callable."""
    wrappers: tuple[Callable[[Any], Any], ...] = ()
    """Applied to each environment copy, the first one innermost; each takes an environment and returns
    one. Not possible in vectorize mode VECTOR_ENTRY_POINT, where there are no single copies."""
    observation_space: gym.Space[Any] | Mapping[str, Any] | None = None
    """With `env=None`, what one copy shows: a space of Gymnasium's, or plain values such as
    {"type": "Box", "low": -1, "high": 1, "shape": [3]}. Of several agents that are not copies a Dict from
    agent to space, in the order of the environment's own list."""
    action_space: gym.Space[Any] | Mapping[str, Any] | None = None
    """With `env=None`, what one copy takes, such as {"type": "Discrete", "n": 2}; likewise."""
    state_space: gym.Space[Any] | Mapping[str, Any] | None = None
    """With `env=None`, several agents and a central critic, the environment's own global state, a Box; None
    where it has none."""

    def __post_init__(self) -> None:
        """Refuse values of the wrong type; spaces become plain values."""
        _check_types(self.env, self.env_config, self.wrappers)
        for name in ("observation_space", "action_space", "state_space"):
            space = getattr(self, name)
            if self.env is not None and space is not None:
                raise ValueError(f"{name} is given and env too, which has its own; leave one of them out")
            if space is not None:
                object.__setattr__(self, name, space_value(name, space))

    @property
    def name(self) -> str:
        """The id, or what the callable is called, for messages."""
        if self.env is None:
            return "remote"
        return self.env if isinstance(self.env, str) else creator_name(self.env)


def make_environment(
    settings: EnvironmentSettings, *, render_mode: str | None = None, checked: bool
) -> gym.Env[Any, Any]:
    """Make one environment copy, wrapped as the settings say.

    With `checked`, Gymnasium's `PassiveEnvChecker` watches its first reset and step; `spaces_of` does
    that once, and the copies that train go without. Raises ValueError in one sentence.
    """
    make = creator_of(settings)
    if make is None:
        env = _make_registered(settings.name, settings.env_config, render_mode, checked=checked)
    else:
        env = _make_by_callable(make, settings, render_mode, checked=checked)
    if is_for_several(env):
        if can(env, "close"):
            env.close()
        raise SeveralAgentsError(settings.name)
    for wrapper in settings.wrappers:
        env = _wrap(env, wrapper)
    return env


def refuse_wrappers(settings: EnvironmentSettings) -> None:
    """Raise ValueError where there are wrappers and no single copies that they could go around."""
    if settings.wrappers:
        raise ValueError(
            f"wrappers {[creator_name(wrapper) for wrapper in settings.wrappers]} cannot be applied in "
            "vectorize mode VECTOR_ENTRY_POINT, which has no single copies; use SYNC or ASYNC, or wrap in a "
            "callable"
        )


def creator_of(settings: EnvironmentSettings) -> Callable[..., Any] | None:
    """Return the callable that makes the environment; None where `env` is a registered id.

    Raises ValueError where there is no environment here.
    """
    if settings.env is None:
        raise nowhere()
    if isinstance(settings.env, str):
        return find_callable(settings.env)
    return settings.env


def spec_of(settings: EnvironmentSettings) -> EnvSpec | None:
    """Return what is registered under the id; None where a callable makes the environment."""
    return find_spec(settings.name) if creator_of(settings) is None else None


def make_native_vector(
    settings: EnvironmentSettings, num_envs: int, *, render_mode: str | None = None
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Make the environment's own implementation of `num_envs` copies, as VECTOR_ENTRY_POINT asks.

    A `render_mode` reaches those that take one; the others do without, and their own says None.
    Raises ValueError in one sentence, also where the environment has no such implementation.
    """
    make = creator_of(settings)
    refuse_wrappers(settings)
    if make is None:
        return _make_registered_vector(settings.name, settings.env_config, num_envs, render_mode)
    vector = call_vector_creator(
        make, settings.name, settings.env_config, num_envs=num_envs, render_mode=render_mode
    )
    if is_vector_for_several(vector):
        vector.close()
        raise SeveralAgentsError(settings.name)
    if not isinstance(vector, gym.vector.VectorEnv):
        raise ValueError(
            f"{settings.name} returned {vector!r}; in vectorize mode VECTOR_ENTRY_POINT it must return a "
            "gymnasium.vector.VectorEnv, and use SYNC or ASYNC for single environments"
        )
    if vector.num_envs != num_envs:
        vector.close()
        raise ValueError(
            f"{settings.name} returned {vector.num_envs} copies where num_envs is {num_envs}; make as many "
            "as num_envs says"
        )
    return vector


def spaces_of(settings: EnvironmentSettings, mode: VectorizeMode | str) -> tuple[wire.Space, wire.Space]:
    """Return the observation space and the action space of one environment copy.

    They can depend on the mode: Atari's own vector environment stacks frames, its single one does not.
    This makes an environment, tries a reset and a step of it under Gymnasium's checker, and closes it,
    so that what does not work fails here, once, before anything else starts. Where only farms have the
    environment, these are the spaces that the settings give.
    """
    if settings.env is None:
        if settings.state_space is not None:
            raise ValueError(
                "state_space is given, which central critics of several agents see, and there is one agent; "
                "leave it out, or say which policies there are (multi_agent(policies=...))"
            )
        return given_space(settings, "observation_space"), given_space(settings, "action_space")
    if VectorizeMode(mode) is VectorizeMode.VECTOR_ENTRY_POINT:
        vector = make_native_vector(settings, 1)
        spaces = vector.single_observation_space, vector.single_action_space
        close_all(vector)
    else:
        env = make_environment(settings, checked=True)
        try:
            try_step(env, settings.name)
        finally:
            close_all(env)
        spaces = env.observation_space, env.action_space
    return space_from_gymnasium(spaces[0]), space_from_gymnasium(spaces[1])


def _check_types(env: object, env_config: object, wrappers: object) -> None:
    if env is not None and not isinstance(env, str) and not callable(env):
        raise ValueError(f"env is {env!r}; give a registered id, or a callable that makes an environment")
    if not isinstance(env_config, Mapping):
        raise ValueError(f"env_config is {env_config!r}; give arguments by name, such as {{'length': 5}}")
    if not isinstance(wrappers, tuple | list) or not all(callable(wrapper) for wrapper in wrappers):
        raise ValueError(
            f"wrappers is {wrappers!r}; give a tuple of callables that take and return an environment"
        )


def given_space(settings: EnvironmentSettings, name: str) -> wire.Space:
    """Return a space that the settings give. Raises ValueError where they do not."""
    space = getattr(settings, name)
    if space is None:
        raise ValueError(
            f"env is None and {name} too; give {name}, as what farms have is not known here, or an env"
        )
    return read_space_value(space)


def nowhere() -> ValueError:
    """Say that the environment is elsewhere."""
    return ValueError(
        "there is no environment here, as env is None and only farms have it; to evaluate or film, give a "
        "configuration whose environment can be made here (Algorithm.from_checkpoint(path, config=...))"
    )


def _make_registered(
    env_id: str, env_config: Mapping[str, Any], render_mode: str | None, *, checked: bool
) -> gym.Env[Any, Any]:
    spec = find_spec(env_id)
    if spec.entry_point is None:
        raise ValueError(
            f"environment {env_id} has only a vector entry point; use vectorize mode VECTOR_ENTRY_POINT"
        )
    creator = load_entry_point(spec, spec.entry_point)
    check_env_config(env_id, creator, env_config, given=set(spec.kwargs), extra={"max_episode_steps"})
    keywords = {**env_config, **rendering(creator, render_mode)}
    try:
        # OrderEnforcing costs 0.3 us a step; whoever steps here without a check resets first.
        spec = replace(spec, order_enforce=spec.order_enforce and checked)
        return gym.make(spec, disable_env_checker=None if checked else True, **keywords)
    except Exception as error:
        raise not_made(env_id, creator, error) from error


def _make_registered_vector(
    env_id: str, env_config: Mapping[str, Any], num_envs: int, render_mode: str | None
) -> gym.vector.VectorEnv[Any, Any, Any]:
    spec = find_spec(env_id)
    if spec.vector_entry_point is None:
        raise ValueError(
            f"environment {env_id} has no vector entry point; use vectorize mode SYNC or ASYNC, or register "
            "it with vector_entry_point="
        )
    creator = load_entry_point(spec, spec.vector_entry_point)
    given = {*spec.kwargs, "num_envs"}
    check_env_config(env_id, creator, env_config, given=given, ours={"num_envs"}, extra={"max_episode_steps"})
    keywords = {**env_config, **rendering(creator, render_mode)}
    try:
        return gym.make_vec(spec, num_envs, VectorizeMode.VECTOR_ENTRY_POINT, **keywords)
    except Exception as error:
        raise not_made(env_id, creator, error) from error


def _make_by_callable(
    make: Callable[..., Any], settings: EnvironmentSettings, render_mode: str | None, *, checked: bool
) -> gym.Env[Any, Any]:
    name = settings.name
    if render_mode is not None and not takes(make, "render_mode"):
        raise ValueError(
            f"{name} takes no render_mode, so that its environment cannot be filmed; let it take the keyword "
            "argument render_mode and hand that to the environment"
        )
    env = call_creator(make, name, settings.env_config, render_mode=render_mode)
    if isinstance(env, gym.vector.VectorEnv):
        raise ValueError(f"{name} returned a vector environment; use vectorize mode VECTOR_ENTRY_POINT")
    if is_for_several(env):
        if can(env, "close"):
            env.close()
        raise SeveralAgentsError(name)
    if not isinstance(env, gym.Env):
        raise ValueError(f"{name} returned {env!r}; it must return a gymnasium.Env")
    if not checked:
        return env
    try:
        return PassiveEnvChecker(env)
    except Exception as error:
        raise not_made(name, make, error) from error


def _wrap(env: gym.Env[Any, Any], wrapper: Callable[[Any], Any]) -> gym.Env[Any, Any]:
    wrapped = apply_wrapper(wrapper, env)
    if not isinstance(wrapped, gym.Env):
        env.close()
        raise ValueError(
            f"wrapper {creator_name(wrapper)} returned {wrapped!r}; it must return a gymnasium.Env"
        )
    return wrapped
