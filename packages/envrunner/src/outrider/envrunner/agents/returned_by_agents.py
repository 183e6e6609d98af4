"""Looks at what an environment for several agents returned, and says in a sentence what it cannot be.

Of what costs a look in every step only the shape of the answer is checked; the rest is looked at once NumPy
has refused it.
"""

# ruff: noqa: ANN401 - environments return anything

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from outrider import wire
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium
from outrider.envrunner.environments.trial_step import require_number

_RESET = ("observations", "infos")
_STEP = ("observations", "rewards", "terminated", "truncated", "infos")


def of_reset(returned: Any) -> Any:
    """Return the observations of a reset. Raises AgentsError where there are none."""
    if not isinstance(returned, tuple | list) or len(returned) != len(_RESET):
        raise _not_so_many("reset", returned, _RESET)
    if not isinstance(returned[0], Mapping):
        raise _no_dictionary("reset", "observations", returned[0])
    return returned[0]


def of_step(returned: Any) -> Any:
    """Return the five parts of a step. Raises AgentsError where there are others."""
    if not isinstance(returned, tuple | list) or len(returned) != len(_STEP):
        raise _not_so_many("step", returned, _STEP)
    for part, name in zip(returned, _STEP[:4], strict=False):
        if type(part) is not dict and not isinstance(part, Mapping):
            raise _no_dictionary("step", name, part)
    return returned


def bad_observation(agent: Any, observation: Any, space: gym.Space[Any]) -> AgentsError:
    """Say what an observation is that does not fit its space."""
    return AgentsError(
        f"agent {agent!r} is shown {_in_words(observation, space_from_gymnasium(space))} and its "
        f"observation_space is {space}; show it what that says, or set it right"
    )


def bad_rewards(rewards: Mapping[Any, Any]) -> AgentsError:
    """Say which reward is no number."""
    for agent, reward in rewards.items():
        try:
            require_number(reward)
            np.float32(reward)
        except (TypeError, ValueError):
            return AgentsError(
                f"the reward of agent {agent!r} is {_short(reward)} of type {type(reward).__name__}; return "
                "one number for each agent"
            )
    return AgentsError(f"the rewards are {_short(rewards)}; return one number for each agent")


def bad_state(state: Any, space: gym.spaces.Box | None) -> AgentsError:
    """Say what a global state is that does not fit its space."""
    is_numbers = isinstance(state, np.ndarray | np.generic) and state.dtype.kind in "biuf"
    what = f"shape {state.shape}" if is_numbers else f"{_short(state)} of type {type(state).__name__}"
    return AgentsError(
        f"state() returned {what}, and state_space has {space and space.shape}; return as many numbers as "
        "that says, in one array"
    )


def _in_words(observation: Any, space: wire.Space) -> str:
    """Say what an observation is: its shape where that is what is wrong with it."""
    try:
        columns = column_reader(space)(observation)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the sentence shows it
        return f"{_short(observation)} of type {type(observation).__name__}"
    for path, leaf in wire.leaves(space).items():
        if columns[path].shape != wire.leaf_shape(leaf):
            where = f" at {path!r}" if path else ""
            return f"an array of shape {columns[path].shape}{where}"
    return f"{_short(observation)} of type {type(observation).__name__}"


def _not_so_many(method: str, returned: Any, parts: tuple[str, ...]) -> AgentsError:
    is_some = isinstance(returned, tuple | list)
    what = f"{len(returned)} values" if is_some else f"one value of type {type(returned).__name__}"
    return AgentsError(
        f"{method} returned {what}; return a tuple of {len(parts)}: {', '.join(parts)}, each a dictionary "
        "keyed by agent"
    )


def _no_dictionary(method: str, name: str, part: Any) -> AgentsError:
    return AgentsError(
        f"{method} returned {name} {_short(part)} of type {type(part).__name__}; return a dictionary keyed "
        "by agent"
    )


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
