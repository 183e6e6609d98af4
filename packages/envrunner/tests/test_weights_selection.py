"""A runner is sent the weights of policies that it may need and does not have."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np

from outrider.envrunner.spaces import space_from_gymnasium
from outrider.envrunner.weights_selection import WeightsSelection
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.transport import LocalWeights, WeightsReference
from outrider.wire.weights_stacks import check_stacks

ENV = gym.make("CartPole-v1")
GRAPH = stacked_mlp_graph(
    space_from_gymnasium(ENV.observation_space), space_from_gymnasium(ENV.action_space), num_hidden=4
)


def weights(versions: list[int]) -> LocalWeights:
    """Return weights of policies 0, 1, ..., by the version at which each last changed."""
    made = stacked_mlp_weights(GRAPH, "many", list(range(len(versions))), version=max(versions))
    stack = replace(made.stacks[0], versions=np.array(versions))
    return LocalWeights(replace(made, stacks=(stack,)))


def policies(reference: WeightsReference) -> list[int]:
    selected = reference.load()
    check_stacks(selected)
    return [int(number) for number in selected.stacks[0].policies]


def test_what_changed_since_a_runner_acted_is_selected() -> None:
    selection, newest = WeightsSelection(None), weights([9, 7, 9, 2])
    selected = selection.of(newest, 7)
    assert policies(selected) == [0, 2]
    for name, tensor in selected.load().tensors.items():
        np.testing.assert_array_equal(tensor, newest.load().tensors[name][[0, 2]])
    assert selected.version == 9


def test_a_runner_without_weights_gets_those_of_all_that_may_play() -> None:
    newest = weights([9, 7, 9, 2])
    assert policies(WeightsSelection(frozenset({1, 2})).of(newest, None)) == [1, 2]
    assert WeightsSelection(None).of(newest, None) is newest


def test_where_nothing_changed_the_stack_is_there_and_empty() -> None:
    assert policies(WeightsSelection(None).of(weights([1, 1]), 1)) == []


def test_policies_that_played_are_selected_also_later_for_their_episodes_may_last() -> None:
    selection = WeightsSelection(frozenset({0}))
    assert selection.also(frozenset({1}))
    assert not selection.also(frozenset({0}))
    assert policies(selection.of(weights([3, 3, 3]), None)) == [0, 1]


def test_runners_with_the_same_weights_get_the_very_same_selection() -> None:
    selection, newest = WeightsSelection(None), weights([5, 4])
    assert selection.of(newest, 4) is selection.of(newest, 4)
    assert selection.of(newest, 4) is not selection.of(weights([5, 4]), 4)
