"""Spaces become plain values and come back the same."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs

from outrider.envrunner.environments.space_values import read_space_value, space_value
from outrider.envrunner.environments.spaces import space_to_gymnasium

SPACES: list[gym.Space[Any]] = [
    gs.Box(-1.0, 1.0, (3,)),
    gs.Box(np.array([-0.1, -np.inf], np.float32), np.array([0.3, np.inf], np.float32)),
    gs.Box(0, 255, (4, 5, 3), np.uint8),
    gs.Box(-(2**62), 2**62, (2,), np.int64),
    gs.Box(0.5, 1.5, ()),
    gs.Discrete(3, start=-1),
    gs.MultiDiscrete([2, 5], start=[0, -2]),
    gs.MultiBinary(4),
    gs.MultiBinary((2, 3)),
    gs.Dict({"b": gs.Discrete(2), "a": gs.Tuple([gs.Discrete(3), gs.Box(0, 1, (1,))])}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_survives_as_json(space: gym.Space[Any]) -> None:
    value = json.loads(json.dumps(space_value("observation_space", space)))
    assert space_to_gymnasium(read_space_value(value)) == space
    assert space_value("observation_space", value) == value


def test_uniform_bounds_are_one_number() -> None:
    assert space_value("observation_space", gs.Box(0, 255, (84, 84), np.uint8)) == {
        "type": "Box",
        "low": 0,
        "high": 255,
        "shape": [84, 84],
        "dtype": "uint8",
    }


def test_what_has_defaults_need_not_be_typed() -> None:
    assert space_to_gymnasium(read_space_value({"type": "Discrete", "n": 2})) == gs.Discrete(2)
    typed = {"type": "Box", "low": [-1, 0], "high": 1, "shape": [2]}
    assert space_to_gymnasium(read_space_value(typed)) == gs.Box(np.array([-1, 0], np.float32), 1.0, (2,))
    assert space_to_gymnasium(read_space_value({"type": "MultiBinary", "n": 4})) == gs.MultiBinary(4)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (4, "observation_space: 4 is no space; give one of Gymnasium's, or plain values of type Box,"),
        ({"type": "Text"}, "is no space; give one of Gymnasium's"),
        ({"type": "Discrete"}, "missing 1 required positional argument: 'n'"),
        ({"type": "Discrete", "n": 2, "m": 3}, "unexpected keyword argument 'm'"),
        ({"type": "Discrete", "n": 0}, "observation_space: "),
        ({"type": "Box", "low": 0, "high": 1, "shape": [2], "dtype": "colour"}, "colour"),
        ({"type": "Box", "low": [0, 0], "high": [1, 1, 1]}, "observation_space: "),
        ({"type": "Tuple", "spaces": [{"type": "Text"}]}, "is no space"),
        (gs.Text(3), "policies take Box, Discrete"),
    ],
)
def test_what_is_no_space_is_refused(value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        space_value("observation_space", value)
