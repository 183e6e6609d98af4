"""Tries one step of an environment before anything else starts, and looks at what comes back."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np

from outrider import wire
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium

_SHAPED = wire.BoxSpace | wire.DiscreteSpace | wire.MultiDiscreteSpace | wire.MultiBinarySpace


def try_step(env: gym.Env[Any, Any], name: str) -> None:
    """Reset and step once. Raises ValueError in one sentence where that fails or no runner can record it."""
    space = space_from_gymnasium(env.observation_space)
    read = column_reader(space)
    env.action_space.seed(0)
    doing = "reset"
    try:
        observation, _ = env.reset(seed=0)
        require_shapes(read(observation), space)
        doing = "step"
        observation, reward, _, _, _ = env.step(allowed_action(env.action_space, observation))
        require_shapes(read(observation), space)
        require_number(reward)
    except Exception as error:
        raise ValueError(f"environment {name} failed at its first {doing}: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Say what an error was without its traceback."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def allowed_action(space: gym.Space[Any], observation: Any) -> Any:  # noqa: ANN401 - values of spaces
    """Return an action, the first that the observation's "action_mask" allows where it has one."""
    mask = observation.get("action_mask") if isinstance(observation, dict) else None
    if mask is None or not isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete):
        return space.sample()
    flat = np.asarray(mask).ravel()
    if isinstance(space, gym.spaces.Discrete):
        return space.dtype.type(space.start + flat.argmax())
    components = np.split(flat, np.cumsum(space.nvec.ravel())[:-1])
    first = np.array([component.argmax() for component in components], space.dtype)
    return first.reshape(space.shape) + space.start


def require_shapes(columns: wire.Columns, space: wire.Space) -> None:
    """Refuse what NumPy would stretch into the shape of the space without a word.

    Leaves that have no fixed shape are left to whoever makes the policy, and says what it takes.
    """
    for path, leaf in wire.leaves(space).items():
        if not isinstance(leaf, _SHAPED):
            continue
        if columns[path].shape != wire.leaf_shape(leaf):
            where = f" at {path!r}" if path else ""
            raise ValueError(
                f"the observation{where} has shape {columns[path].shape} and its space "
                f"{wire.leaf_shape(leaf)}; return what the space says"
            )


def require_number(reward: Any) -> None:  # noqa: ANN401 - whatever an environment returns
    """Refuse a reward that is no number."""
    if not isinstance(reward, SupportsFloat) or np.asarray(reward).ndim:
        raise ValueError(f"the reward is {reward!r} of type {type(reward).__name__}; return one number")
