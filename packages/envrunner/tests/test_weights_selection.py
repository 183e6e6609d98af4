"""A runner is sent the weights of policies that it may need and does not have."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np

from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.policies.weights_selection import HeldElsewhere, WeightsSelection
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


def selection_of(played: frozenset[int] | None, at_most: int = 4) -> WeightsSelection:
    """Select among four policies."""
    return WeightsSelection(played, num_policies=4, at_most=at_most)


def policies(reference: WeightsReference) -> list[int]:
    selected = reference.load()
    check_stacks(selected)
    return [int(number) for number in selected.stacks[0].policies]


def test_what_changed_since_a_runner_acted_is_selected() -> None:
    selection, newest = selection_of(None), weights([9, 7, 9, 2])
    selected = selection.of(newest, 7)
    assert policies(selected) == [0, 2]
    for name, tensor in selected.load().tensors.items():
        np.testing.assert_array_equal(tensor, newest.load().tensors[name][[0, 2]])
    assert selected.version == 9


def test_a_runner_without_weights_gets_those_of_all_that_may_play() -> None:
    newest = weights([9, 7, 9, 2])
    assert policies(selection_of(frozenset({1, 2})).of(newest, None)) == [1, 2]
    assert selection_of(None).of(newest, None) is newest


def test_where_nothing_changed_the_stack_is_there_and_empty() -> None:
    assert policies(selection_of(None).of(weights([1, 1]), 1)) == []


def test_policies_that_played_are_selected_also_later_for_their_episodes_may_last() -> None:
    selection = selection_of(frozenset({0}))
    assert selection.also(frozenset({1}), policies=frozenset(range(4)))
    assert not selection.also(frozenset({0}), policies=frozenset(range(4)))
    assert policies(selection.of(weights([3, 3, 3]), None)) == [0, 1]


def test_a_league_that_drops_its_old_snapshots_never_has_more_that_play_than_there_are() -> None:
    selection = selection_of(frozenset({0}), at_most=4)
    for newest in range(1, 10):
        there = frozenset({0, newest, newest + 1})
        assert selection.also(frozenset({0, newest}), policies=there)
    assert not selection.also(frozenset({0}), policies=frozenset({0, 9}))
    assert not selection.is_on_demand
    assert policies(selection.of(weights([3] * 11), None)) == [0, 9]


def test_runners_with_the_same_weights_get_the_very_same_selection() -> None:
    selection, newest = selection_of(None), weights([5, 4])
    assert selection.of(newest, 4) is selection.of(newest, 4)
    assert selection.of(newest, 4) is not selection.of(weights([5, 4]), 4)


NOBODY = np.zeros(0, np.int32)


def holds(*numbers: int) -> HeldElsewhere:
    held = HeldElsewhere(on_demand=True)
    held.wants(np.array(numbers, np.int32), NOBODY)
    return held


def test_where_more_may_play_than_a_runner_holds_it_gets_what_it_holds_and_has_changed() -> None:
    selection, newest = selection_of(None, at_most=3), weights([9, 7, 9, 2])
    assert policies(selection.for_runner(newest, 7, holds(0, 1))) == [0]
    assert policies(selection.for_runner(newest, None, holds(0, 1))) == [0, 1]
    assert policies(selection.for_runner(newest, None, holds())) == []


def test_where_no_more_may_play_it_gets_them_unasked_and_holds_them() -> None:
    held = holds()
    assert policies(
        selection_of(frozenset({1, 2}), at_most=2).for_runner(weights([9, 7, 9]), None, held)
    ) == [
        1,
        2,
    ]
    assert held.numbers.tolist() == [1, 2]


def test_a_runner_that_cannot_ask_gets_all() -> None:
    held = HeldElsewhere(on_demand=False)
    assert policies(selection_of(None, at_most=1).for_runner(weights([9, 7]), None, held)) == [0, 1]


def test_what_a_runner_wants_it_holds_and_what_it_dropped_it_does_not() -> None:
    held = holds(1, 5, 3)
    held.wants(np.array([2, 5], np.int32), np.array([1, 9], np.int32))
    assert held.numbers.tolist() == [2, 3, 5]


def test_once_more_may_play_than_are_held_it_stays_so() -> None:
    selection = selection_of(None, at_most=4)
    assert not selection.is_on_demand
    selection.also(None, policies=frozenset(range(5)))
    selection.also(None, policies=frozenset(range(2)))  # runners have dropped some by now
    assert selection.is_on_demand
