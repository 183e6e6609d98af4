"""A runner holds the weights of the policies that there are, and of no others."""

from __future__ import annotations

import numpy as np
import pytest

from outrider.envrunner.policies.acting_weights import ActingWeights
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.stack_policy import StackPolicy
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.wire import BoxSpace, DiscreteSpace

BOX = BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32))
GRAPH = stacked_mlp_graph(BOX, DiscreteSpace(num_values=2), num_hidden=4)


def entries(*numbers: int) -> list[PolicyEntry]:
    return [PolicyEntry(name=str(number), number=number, stack="s") for number in numbers]


def act(stack: StackPolicy, number: int) -> None:
    stack.act({"": np.zeros((1, 3), np.float32)}, np.array([number], np.int32), {})


def test_weights_of_policies_that_are_gone_are_dropped() -> None:
    stack, weights = StackPolicy(GRAPH, "s"), ActingWeights()
    weights.act_with(entries(0, 1, 2), [stack])
    weights.take(stacked_mlp_weights(GRAPH, "s", [0, 1, 2]))
    weights.act_with(entries(0, 2, 3), [stack])
    act(stack, 2)
    with pytest.raises(ValueError, match="policy number 1 of stack 's' has no weights"):
        act(stack, 1)


@pytest.mark.parametrize("num_late", [0, 1])
def test_a_league_that_adds_and_removes_snapshots_takes_no_more_memory_in_the_end(num_late: int) -> None:
    stack, weights = StackPolicy(GRAPH, "s"), ActingWeights()
    for newest in range(3, 50):
        weights.act_with(entries(0, newest - 1, newest), [stack])
        published = [0, *range(newest - 1 - num_late, newest + 1)]  # late: before the oldest was removed
        weights.take(stacked_mlp_weights(GRAPH, "s", published, version=newest))
        act(stack, newest)
    assert {len(tensor) for tensor in stack._weights.tensors.values()} == {3 + num_late}
