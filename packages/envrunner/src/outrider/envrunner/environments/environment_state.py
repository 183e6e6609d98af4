"""Saves what environments remember, so that a resumed run continues in the middle of their episodes.

Gymnasium's classic control is copied attribute by attribute. Any other environment takes part by being
a `StatefulEnvironment`; where one layer of an environment can be saved by neither, nothing is, because
half of a state is none. States are trees: nested dict (string keys) and list of str, int, float, bool,
None and NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium import wrappers
from gymnasium.envs.classic_control import (
    AcrobotEnv,
    CartPoleEnv,
    Continuous_MountainCarEnv,
    MountainCarEnv,
    PendulumEnv,
)
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from outrider.envrunner.environments.sync_vector import SyncVector

Tree: TypeAlias = Any
"""Nested dict and list of str, int, float, bool, None and NumPy arrays; dict keys are strings."""

_ATTRIBUTES: dict[type[Any], tuple[str, ...]] = {
    CartPoleEnv: ("state", "steps_beyond_terminated"),
    MountainCarEnv: ("state",),
    Continuous_MountainCarEnv: ("state",),
    PendulumEnv: ("state", "last_u"),
    AcrobotEnv: ("state",),
    CartPoleVectorEnv: ("state", "steps", "prev_done", "low", "high"),
    gym.vector.SyncVectorEnv: ("_autoreset_envs",),
    SyncVector: (),
    wrappers.TimeLimit: ("_elapsed_steps",),
    wrappers.OrderEnforcing: ("_has_reset",),
    **dict.fromkeys(
        (
            wrappers.PassiveEnvChecker,
            wrappers.ClipAction,
            wrappers.ClipReward,
            wrappers.DtypeObservation,
            wrappers.FilterObservation,
            wrappers.FlattenObservation,
            wrappers.RescaleAction,
            wrappers.RescaleObservation,
            wrappers.ReshapeObservation,
            wrappers.TransformAction,
            wrappers.TransformObservation,
            wrappers.TransformReward,
        ),
        (),
    ),
}
"""What each layer remembers between two steps. Exact types: a subclass may remember more."""


@runtime_checkable
class StatefulEnvironment(Protocol):
    """An environment, a wrapper or a vector environment that can be continued from a saved state.

    A wrapper speaks for itself alone, not for what it wraps. The generator `np_random` is saved beside
    the state and need not be part of it. Restored into a fresh copy, the same actions must have the same
    consequences, bit for bit.
    """

    def get_state(self) -> Tree:
        """Return a tree that later steps do not change."""
        ...

    def set_state(self, state: Tree) -> None:
        """Continue from what `get_state` returned."""
        ...


@runtime_checkable
class _HoldsCopies(Protocol):
    """A vector environment whose copies live in this process."""

    envs: Sequence[gym.Env[Any, Any]]


def save_environment_state(vector: gym.vector.VectorEnv[Any, Any, Any]) -> Tree | None:
    """Return the state of all environment copies, or None where one of them cannot tell it.

    Environments in processes of their own (ASYNC) cannot.
    """
    own = _save_layer(vector)
    if own is None:
        return None
    if not isinstance(vector, _HoldsCopies):
        return {"vector": own, "copies": []}
    copies = [save_copy(env) for env in vector.envs]
    return None if None in copies else {"vector": own, "copies": copies}


def restore_environment_state(vector: gym.vector.VectorEnv[Any, Any, Any], state: Tree) -> None:
    """Continue from what `save_environment_state` returned for a vector environment made the same way.

    Raises ValueError where the state is of other environments, or of another number of them.
    """
    copies = list(vector.envs) if isinstance(vector, _HoldsCopies) else []
    if len(copies) != len(state["copies"]):
        raise ValueError(
            f"the saved state is of {len(state['copies'])} environment copies and there are {len(copies)}; "
            "resume with the settings of the run that saved it"
        )
    _restore_layer(vector, state["vector"])
    for env, layers in zip(copies, state["copies"], strict=True):
        restore_copy(env, layers)


def save_copy(env: Any) -> list[Tree] | None:  # noqa: ANN401 - Gymnasium's, or one for several agents
    """Save one environment layer by layer, the outermost wrapper first; None where one cannot tell."""
    saved = [_save_layer(layer) for layer in _layers(env)]
    return None if None in saved else saved


def restore_copy(env: Any, saved: list[Tree]) -> None:  # noqa: ANN401 - see save_copy
    """Continue from what `save_copy` returned. Raises ValueError where the environment is another."""
    layers = _layers(env)
    if len(layers) != len(saved):
        raise _mismatch(" in ".join(layer["kind"] for layer in reversed(saved)), str(env))
    for layer, state in zip(layers, saved, strict=True):
        _restore_layer(layer, state)


def _layers(env: Any) -> list[Any]:  # noqa: ANN401 - see save_copy
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _save_layer(layer: Any) -> Tree | None:  # noqa: ANN401 - environments, wrappers, vector environments
    if isinstance(layer, StatefulEnvironment):
        state = layer.get_state()
    elif type(layer) in _ATTRIBUTES:
        state = {name: _plain(getattr(layer, name)) for name in _ATTRIBUTES[type(layer)]}
    else:
        return None
    return {"kind": type(layer).__qualname__, "state": state, "np_random": _save_random(layer)}


def _restore_layer(layer: Any, saved: Tree) -> None:  # noqa: ANN401 - see _save_layer
    if saved["kind"] != type(layer).__qualname__:
        raise _mismatch(saved["kind"], type(layer).__qualname__)
    if isinstance(layer, StatefulEnvironment):
        layer.set_state(saved["state"])
    else:
        for name in _ATTRIBUTES[type(layer)]:
            setattr(layer, name, _alive(saved["state"][name]))
    if saved["np_random"] is not None:
        layer.np_random.bit_generator.state = saved["np_random"]


def _save_random(layer: Any) -> Tree | None:  # noqa: ANN401 - see _save_layer
    """Return the state of the layer's own generator, as plain numbers."""
    if isinstance(layer, gym.Wrapper | _HoldsCopies):  # these show the generators of what they hold
        return None
    if not isinstance(layer, gym.Env | gym.vector.VectorEnv):  # of another library, with what its state has
        return None
    return dict(layer.np_random.bit_generator.state)


def _plain(attribute: Any) -> Tree:  # noqa: ANN401 - whatever environments keep
    match attribute:
        case np.ndarray():
            return attribute.copy()
        case np.generic():
            return attribute.item()
        case tuple():
            return [_plain(entry) for entry in attribute]
        case _:
            return attribute


def _alive(saved: Tree) -> Any:  # noqa: ANN401 - see _plain
    match saved:
        case np.ndarray():
            return saved.copy()
        case list():
            return tuple(saved)
        case _:
            return saved


def _mismatch(saved: str, present: str) -> ValueError:
    return ValueError(
        f"the saved state is of {saved} and the environment is {present}; resume with the settings of the "
        "run that saved it"
    )
