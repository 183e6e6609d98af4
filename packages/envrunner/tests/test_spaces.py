"""Spaces come through the wire's description unchanged, and nested values through their columns."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from gymnasium.vector.utils import batch_space

from outrider import wire
from outrider.envrunner.environments.spaces import (
    column_reader,
    column_writer,
    space_from_gymnasium,
    space_to_gymnasium,
)

NESTED = gs.Dict(
    {
        "camera": gs.Box(0, 255, (2, 3, 1), np.uint8),
        "arm/hand": gs.Tuple([gs.Discrete(3, start=-1), gs.Dict({"grip": gs.MultiBinary(2)})]),
        "gear": gs.MultiDiscrete([2, 5], start=[1, 0]),
    }
)
EVERY_SPACE = [
    gs.Box(np.array([-1.0, -np.inf]), np.array([1.0, np.inf]), dtype=np.float64),
    gs.Box(0, 255, (4, 4, 3), np.uint8),
    gs.Discrete(4),
    gs.Discrete(4, start=-2),
    gs.MultiDiscrete([2, 3]),
    gs.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, -3]]),
    gs.MultiBinary(4),
    gs.MultiBinary((2, 3)),
    gs.Text(6, min_length=2, charset="zyx"),
    gs.Sequence(gs.Box(0, 1, (2,)), stack=True),
    gs.Sequence(gs.Discrete(3)),
    gs.Graph(gs.Box(0, 1, (2,)), gs.Discrete(3)),
    gs.Graph(gs.Discrete(2), None),
    gs.OneOf([gs.Discrete(2), gs.Box(0, 1, (2,))]),
    gs.Tuple([]),
    NESTED,
]


@pytest.mark.parametrize("space", EVERY_SPACE, ids=str)
def test_every_space_comes_back_unchanged(space: gym.Space[Any]) -> None:
    back = space_to_gymnasium(space_from_gymnasium(space))
    assert back == space
    assert back.contains(space.sample())


def test_dict_order_is_kept() -> None:
    space = gs.Dict([("b", gs.Discrete(2)), ("a", gs.Discrete(2))])
    assert list(wire.leaves(space_from_gymnasium(space))) == ["/b", "/a"]


def test_a_box_without_numbers_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"of shape \(2, 0\), which has no room for numbers; give it some, or leave"
    ):
        space_from_gymnasium(gs.Dict({"none": gs.Box(0, 1, (2, 0))}))


def test_a_space_of_an_unknown_kind_is_refused_by_name() -> None:
    class Compass(gs.Discrete):  # type: ignore[type-arg]
        pass

    with pytest.raises(
        ValueError, match=r"Compass; allowed are Box, Discrete, .*: convert it with a wrapper"
    ):
        space_from_gymnasium(gs.Tuple([Compass(4)]))


def test_dict_keys_must_be_strings() -> None:
    space = gs.Dict({3: gs.Discrete(2)})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="key 3 of type int; keys must be strings"):
        space_from_gymnasium(space)


def test_a_bare_observation_is_its_own_column_and_is_not_copied() -> None:
    observation = np.zeros((5, 4), np.float32)
    columns = column_reader(space_from_gymnasium(gs.Box(-1, 1, (4,))))(observation)
    assert columns[""] is observation


def test_leaves_of_a_nested_observation_are_found_by_path() -> None:
    space = space_from_gymnasium(NESTED)
    columns = column_reader(space)(NESTED.sample())
    shapes = {path: (column.shape, column.dtype) for path, column in columns.items()}
    leaves = wire.leaves(space)
    assert shapes == {path: (wire.leaf_shape(leaf), wire.leaf_dtype(leaf)) for path, leaf in leaves.items()}


def test_a_vector_environment_adds_one_axis_to_each_leaf() -> None:
    columns = column_reader(space_from_gymnasium(NESTED))(batch_space(NESTED, 7).sample())
    assert list(columns) == ["/arm~1hand/0", "/arm~1hand/1/grip", "/camera", "/gear"]
    assert columns["/camera"].shape == (7, 2, 3, 1)
    assert columns["/arm~1hand/0"].shape == (7,)


@pytest.mark.parametrize("num_envs", [None, 3])
def test_the_writer_reverses_the_reader(num_envs: int | None) -> None:
    whole = NESTED if num_envs is None else batch_space(NESTED, num_envs)
    read, write = column_reader(space_from_gymnasium(NESTED)), column_writer(NESTED)
    value = write(read(whole.sample()))
    assert whole.contains(value)
    again = read(value)
    assert all(np.array_equal(again[path], column) for path, column in read(value).items())


def test_actions_get_the_dtype_of_the_space() -> None:
    write = column_writer(gs.MultiDiscrete([3, 3], dtype=np.int32))
    assert write({"": np.array([1, 2])}).dtype == np.int32


def test_one_discrete_action_is_a_scalar() -> None:
    action = column_writer(gs.Discrete(3))({"": np.array(2)})
    assert action == 2
    assert isinstance(action, np.integer)


def test_a_text_observation_asks_for_a_wrapper() -> None:
    with pytest.raises(ValueError, match=r"TextSpace has no fixed array shape.*convert it with a wrapper"):
        column_reader(space_from_gymnasium(gs.Dict({"said": gs.Text(3)})))
