"""Spaces as settings hold them: plain values that JSON knows, as one would type them.

    {"type": "Box", "low": -1.0, "high": 1.0, "shape": [3], "dtype": "float32"}
    {"type": "Discrete", "n": 2}
    {"type": "Dict", "spaces": {"camera": {"type": "Box", ...}, "speed": {"type": "Discrete", "n": 5}}}

The names are those of Gymnasium's spaces and their arguments. A bound is one number where it is the same
for all elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider import wire
from outrider.envrunner.environments.spaces import space_from_gymnasium

_EXAMPLE = '{"type": "Box", "low": -1, "high": 1, "shape": [3]} or {"type": "Discrete", "n": 2}'


def space_value(name: str, space: object) -> dict[str, Any]:
    """Return a space of Gymnasium's, or one that is plain already, as plain values.

    Raises ValueError, with `name` in it, for what is no space that a policy can take.
    """
    try:
        described = space_from_gymnasium(space) if isinstance(space, gym.Space) else read_space_value(space)
        return _value(described)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def read_space_value(value: object) -> wire.Space:
    """Read what `space_value` returned, or what somebody typed. Raises ValueError."""
    if not isinstance(value, Mapping) or value.get("type") not in _READERS:
        allowed = ", ".join(_READERS)
        raise ValueError(
            f"{value!r} is no space; give one of Gymnasium's, or plain values of type {allowed}, such as "
            f"{_EXAMPLE}"
        )
    arguments = {name: each for name, each in value.items() if name != "type"}
    try:
        return _READERS[value["type"]](**arguments)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{value!r} is no space: {error}; give plain values such as {_EXAMPLE}") from error


def _value(space: wire.Space) -> dict[str, Any]:
    match space:
        case wire.BoxSpace(low=low, high=high):
            bounds = {"low": _bound(low), "high": _bound(high)}
            return {"type": "Box", **bounds, "shape": list(low.shape), "dtype": str(low.dtype)}
        case wire.DiscreteSpace(num_values=num_values, start=start):
            return {"type": "Discrete", "n": int(num_values), "start": int(start)}
        case wire.MultiDiscreteSpace(num_values=num_values, start=start):
            return {"type": "MultiDiscrete", "nvec": num_values.tolist(), "start": start.tolist()}
        case wire.MultiBinarySpace(shape=shape):
            return {"type": "MultiBinary", "n": list(shape)}
        case wire.DictSpace(spaces=spaces):
            return {"type": "Dict", "spaces": {name: _value(child) for name, child in spaces.items()}}
        case wire.TupleSpace(spaces=spaces):
            return {"type": "Tuple", "spaces": [_value(child) for child in spaces]}
    wire.leaf_dtype(space)  # says why not
    raise AssertionError(space)


def _bound(bound: NDArray[Any]) -> Any:  # noqa: ANN401 - a number, or lists of them
    is_uniform = bound.size > 0 and (bound == bound.flat[0]).all()
    return bound.flat[0].item() if is_uniform else bound.tolist()


def _box(low: Any, high: Any, shape: Any = None, dtype: str = "float32") -> wire.Space:  # noqa: ANN401
    return space_from_gymnasium(
        _made(
            gym.spaces.Box,
            np.asarray(low, dtype) if isinstance(low, list) else low,
            np.asarray(high, dtype) if isinstance(high, list) else high,
            shape=None if shape is None else tuple(shape),
            dtype=np.dtype(dtype).type,
        )
    )


def _discrete(n: int, start: int = 0) -> wire.Space:
    return space_from_gymnasium(_made(gym.spaces.Discrete, n, start=start))


def _multi_discrete(nvec: Any, start: Any = None) -> wire.Space:  # noqa: ANN401
    starts = None if start is None else np.asarray(start, np.int64)
    return space_from_gymnasium(_made(gym.spaces.MultiDiscrete, np.asarray(nvec, np.int64), start=starts))


def _multi_binary(n: Any) -> wire.Space:  # noqa: ANN401
    shape = n if isinstance(n, list | tuple) else [n]
    return wire.MultiBinarySpace(shape=tuple(int(length) for length in shape))


def _dict(spaces: Mapping[str, Any]) -> wire.Space:
    return wire.DictSpace(spaces={str(name): read_space_value(child) for name, child in spaces.items()})


def _tuple(spaces: Any) -> wire.Space:  # noqa: ANN401
    return wire.TupleSpace(spaces=tuple(read_space_value(child) for child in spaces))


def _made(kind: Callable[..., gym.Space[Any]], *arguments: Any, **keywords: Any) -> gym.Space[Any]:  # noqa: ANN401
    try:
        return kind(*arguments, **keywords)
    except AssertionError as error:
        raise ValueError(str(error)) from error


_READERS: dict[str, Callable[..., wire.Space]] = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Dict": _dict,
    "Tuple": _tuple,
}
