"""Between Gymnasium's spaces and the wire's, and between nested values and columns by leaf path.

Values of a nested space look the same for one environment and for a vector environment, where each
leaf merely has one more axis in front; so one reader and one writer serve both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces as gs

from outrider import wire
from outrider.wire.space import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ColumnReader: TypeAlias = "Callable[[Any], dict[str, NDArray[Any]]]"
"""Takes a value of a space, of one environment or of many, and returns its leaves by path."""
ColumnWriter: TypeAlias = "Callable[[wire.Columns], Any]"
"""The reverse of a `ColumnReader`."""


def space_from_gymnasium(space: gym.Space[Any]) -> wire.Space:
    """Describe a Gymnasium space as a plain value.

    Raises ValueError for a space type that Gymnasium does not ship, because its meaning is unknown.
    """
    kind = type(space)
    convert = _FROM_GYMNASIUM.get(kind)
    if convert is None:
        known = ", ".join(known.__name__ for known in _FROM_GYMNASIUM)
        raise ValueError(
            f"space {space} is a {kind.__module__}.{kind.__qualname__}; allowed are {known}: convert it with "
            "a wrapper"
        )
    return convert(space)


def space_to_gymnasium(space: wire.Space) -> gym.Space[Any]:  # noqa: C901, PLR0911 - one case for each space
    """Make the Gymnasium space that `space` describes."""
    match space:
        case wire.BoxSpace(low=low, high=high):
            return gs.Box(low, high, dtype=low.dtype.type)
        case wire.DiscreteSpace(num_values=num_values, start=start):
            return gs.Discrete(num_values, start=start)
        case wire.MultiDiscreteSpace(num_values=nvec, start=starts):
            return gs.MultiDiscrete(nvec, start=starts)
        case wire.MultiBinarySpace(shape=shape):
            return gs.MultiBinary(shape[0] if len(shape) == 1 else shape)
        case wire.TextSpace(min_length=shortest, max_length=longest, characters=characters):
            return gs.Text(longest, min_length=shortest, charset=characters)
        case wire.DictSpace(spaces=children):
            return gs.Dict({name: space_to_gymnasium(child) for name, child in children.items()})
        case wire.TupleSpace(spaces=entries):
            return gs.Tuple([space_to_gymnasium(child) for child in entries])
        case wire.SequenceSpace(element=element, stacked=stacked):
            return gs.Sequence(space_to_gymnasium(element), stack=stacked)
        case wire.GraphSpace(node=node, edge=edge):
            return gs.Graph(space_to_gymnasium(node), None if edge is None else space_to_gymnasium(edge))
        case wire.OneOfSpace(spaces=choices):
            return gs.OneOf([space_to_gymnasium(child) for child in choices])


def column_reader(space: wire.Space) -> ColumnReader:
    """Make the function that takes a value of `space` apart into its leaves.

    It casts to the dtypes that `wire.leaf_dtype` names and copies nothing that has them already: the
    columns live as long as the value does. Raises ValueError where a leaf has no fixed array shape.
    """
    if not isinstance(space, wire.DictSpace | wire.TupleSpace):
        dtype = wire.leaf_dtype(space)
        return lambda value: {"": np.asarray(value, dtype)}
    routes = [(path, keys, wire.leaf_dtype(leaf)) for path, keys, leaf in _routes(space, "", ())]

    def read(value: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - nested to any depth
        columns = {}
        for path, keys, dtype in routes:
            leaf = value
            for key in keys:
                leaf = leaf[key]
            columns[path] = np.asarray(leaf, dtype)
        return columns

    return read


def leaf_routes(space: wire.Space) -> list[tuple[str, tuple[str | int, ...]]]:
    """List each leaf's path with the keys that lead to it in a value of `space`."""
    return [(path, keys) for path, keys, _ in _routes(space, "", ())]


def column_writer(space: gym.Space[Any]) -> ColumnWriter:
    """Make the function that builds a value of `space` out of its leaves, in the space's own dtypes.

    The columns are in the environment's units. Without a first axis they make an action of one
    environment (a Discrete one is then a NumPy integer), with it the actions of a vector environment.
    """
    return _writer(space, "")


def _writer(space: gym.Space[Any], path: str) -> ColumnWriter:
    if isinstance(space, gs.Dict):
        children = {name: _writer(child, f"{path}/{escape(name)}") for name, child in space.spaces.items()}
        return lambda columns: {name: write(columns) for name, write in children.items()}
    if isinstance(space, gs.Tuple):
        entries = [_writer(child, f"{path}/{index}") for index, child in enumerate(space.spaces)]
        return lambda columns: tuple(write(columns) for write in entries)
    wire.leaf_dtype(space_from_gymnasium(space))  # type: ignore[arg-type]  # refuses what is no array
    dtype = space.dtype
    return lambda columns: np.asarray(columns[path], dtype)[()]


def _routes(
    space: wire.Space, path: str, keys: tuple[str | int, ...]
) -> list[tuple[str, tuple[str | int, ...], wire.LeafSpace]]:
    """List each leaf with its path and with the keys that lead to it."""
    if isinstance(space, wire.DictSpace):
        return [
            route
            for name, child in space.spaces.items()
            for route in _routes(child, f"{path}/{escape(name)}", (*keys, name))
        ]
    if isinstance(space, wire.TupleSpace):
        return [
            route
            for index, child in enumerate(space.spaces)
            for route in _routes(child, f"{path}/{index}", (*keys, index))
        ]
    return [(path, keys, space)]


def _box(space: gs.Box) -> wire.BoxSpace:
    if not space.low.size:
        raise ValueError(
            f"space {space} is of shape {space.shape}, which has no room for numbers; give it some, or leave "
            "it out"
        )
    return wire.BoxSpace(low=space.low.copy(), high=space.high.copy())


def _discrete(space: gs.Discrete) -> wire.DiscreteSpace:
    return wire.DiscreteSpace(num_values=int(space.n), start=int(space.start))


def _multi_discrete(space: gs.MultiDiscrete) -> wire.MultiDiscreteSpace:
    return wire.MultiDiscreteSpace(num_values=space.nvec.astype(np.int64), start=space.start.astype(np.int64))


def _multi_binary(space: gs.MultiBinary) -> wire.MultiBinarySpace:
    return wire.MultiBinarySpace(shape=tuple(int(size) for size in space.shape))


def _text(space: gs.Text) -> wire.TextSpace:
    return wire.TextSpace(
        min_length=space.min_length,
        max_length=space.max_length,
        characters="".join(space.character_list),
    )


def _dict(space: gs.Dict) -> wire.DictSpace:
    for name in space.spaces:
        if not isinstance(name, str):
            raise ValueError(
                f"Dict space has the key {name!r} of type {type(name).__name__}; keys must be strings"
            )
    return wire.DictSpace(spaces={name: space_from_gymnasium(child) for name, child in space.spaces.items()})


def _tuple(space: gs.Tuple[Any]) -> wire.TupleSpace:
    return wire.TupleSpace(spaces=tuple(space_from_gymnasium(child) for child in space.spaces))


def _sequence(space: gs.Sequence) -> wire.SequenceSpace:
    return wire.SequenceSpace(element=space_from_gymnasium(space.feature_space), stacked=space.stack)


def _graph(space: gs.Graph) -> wire.GraphSpace:
    edge = None if space.edge_space is None else _graph_part(space.edge_space)
    return wire.GraphSpace(node=_graph_part(space.node_space), edge=edge)


def _graph_part(space: gym.Space[Any]) -> wire.BoxSpace | wire.DiscreteSpace:
    part = space_from_gymnasium(space)
    if not isinstance(part, wire.BoxSpace | wire.DiscreteSpace):
        raise ValueError(f"nodes or edges of a Graph are {space}; allowed are Box and Discrete")
    return part


def _one_of(space: gs.OneOf[Any]) -> wire.OneOfSpace:
    return wire.OneOfSpace(spaces=tuple(space_from_gymnasium(child) for child in space.spaces))


_FROM_GYMNASIUM: dict[type[Any], Callable[[Any], wire.Space]] = {
    gs.Box: _box,
    gs.Discrete: _discrete,
    gs.MultiDiscrete: _multi_discrete,
    gs.MultiBinary: _multi_binary,
    gs.Text: _text,
    gs.Dict: _dict,
    gs.Tuple: _tuple,
    gs.Sequence: _sequence,
    gs.Graph: _graph,
    gs.OneOf: _one_of,
}
