"""One call for many policies computes what each would compute alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from outrider.envrunner.policies.row_chunks import row_chunks
from outrider.envrunner.policies.stack_policy import StackPolicy
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.wire import BoxSpace, DictSpace, DiscreteSpace, Weights

BOX = BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32))
GRAPH = stacked_mlp_graph(BOX, DiscreteSpace(num_values=2), num_hidden=4)
NUMBERS = list(range(3, 63, 2))


def stack() -> StackPolicy:
    acting = StackPolicy(GRAPH, "s")
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", NUMBERS))
    return acting


def alone(number: int, observations: NDArray[np.float32], version: int = 0) -> NDArray[np.float32]:
    """Compute one policy by hand."""
    tensors = stacked_mlp_weights(GRAPH, "s", [number], version=version).tensors
    hidden: NDArray[np.float32] = observations[None]
    for layer in range(3):
        hidden = hidden @ tensors[f"s/{layer}.weight"][0] + tensors[f"s/{layer}.bias"][0]
        hidden = hidden if layer == 2 else np.tanh(hidden)
    (row,) = hidden
    return np.asarray(row, np.float32)


def assert_right(acting: StackPolicy, numbers: Sequence[int], versions: Sequence[int] | None = None) -> None:
    policy = np.array(sorted(numbers), np.int32)
    observations = np.random.default_rng(len(numbers)).normal(size=(len(policy), 3)).astype(np.float32)
    parameters, state = acting.act({"": observations}, policy, {})
    assert not state
    for row, number in enumerate(policy.tolist()):
        expected = alone(number, observations[row], 0 if versions is None else versions[row])
        np.testing.assert_allclose(parameters[row], expected, atol=1e-5)


@given(
    st.lists(
        st.one_of(
            st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=60),
            st.lists(st.sampled_from([3, 5, 61]), min_size=1, max_size=60),
            st.builds(lambda one, n: [one] * n + NUMBERS[:8], st.sampled_from(NUMBERS), st.integers(1, 200)),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=30, deadline=None)
def test_whoever_acts_computes_what_it_computes_alone(calls: list[list[int]]) -> None:
    acting = stack()
    for numbers in calls:
        assert_right(acting, numbers)


def test_new_weights_act_whether_they_are_read_in_place_or_copied() -> None:
    for numbers in ([3, 5, 7], [3, 61], [3, 5, 7]):
        acting = stack()
        assert_right(acting, numbers)
        acting.set_weights(stacked_mlp_weights(GRAPH, "s", NUMBERS, version=4))
        assert_right(acting, numbers, [4] * len(numbers))


def test_policies_left_out_stay_and_older_ones_are_not_taken() -> None:
    acting = stack()
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", [5], version=2))
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", [3, 5], version=1))
    assert_right(acting, [3, 5, 7], [1, 2, 0])


def test_weights_of_an_earlier_time_are_taken_after_forgetting() -> None:
    acting = stack()
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", NUMBERS, version=2))
    acting.forget()
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", NUMBERS, version=1))
    assert_right(acting, [3, 61], [1, 1])


def test_a_policy_that_is_added_later_acts_with_the_others() -> None:
    acting = stack()
    assert_right(acting, [3, 3, 61])
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", [4, 80], version=1))
    assert_right(acting, [3, 4, 61, 80], [0, 1, 0, 1])


def test_a_policy_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="policy number 4 of stack 's' has no weights"):
        stack().act({"": np.zeros((1, 3), np.float32)}, np.array([4], np.int32), {})


def test_weights_that_do_not_fit_change_nothing() -> None:
    acting = stack()
    weights = stacked_mlp_weights(GRAPH, "s", NUMBERS, version=1)
    wrong: list[Weights] = [
        replace(weights, stacks=(replace(weights.stacks[0], fingerprint="other"),)),
        replace(weights, tensors={**weights.tensors, "s/2.bias": np.zeros((30, 1, 3), np.float32)}),
        replace(weights, tensors={name: t for name, t in weights.tensors.items() if name != "s/2.bias"}),
    ]
    for each in wrong:
        with pytest.raises(ValueError, match=r"module that the policies|from the same module"):
            acting.set_weights(each)
    assert_right(acting, NUMBERS)


def test_what_the_graph_does_not_read_is_left_out() -> None:
    seen = stacked_mlp_graph(DictSpace(spaces={"seen": BOX}), DiscreteSpace(num_values=2), num_hidden=4)
    both = DictSpace(spaces={"ignored": BOX, "seen": BOX})
    acting = StackPolicy(replace(seen, observation_space=both), "s")
    acting.set_weights(stacked_mlp_weights(seen, "s", [3]))
    row = np.full((1, 3), 0.5, np.float32)
    parameters, _ = acting.act({"/ignored": row + 9, "/seen": row}, np.array([3], np.int32), {})
    np.testing.assert_allclose(parameters[0], alone(3, row[0]), atol=1e-5)


def test_a_graph_of_one_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="acts for one policy; act with it through SolePolicy"):
        StackPolicy(replace(GRAPH, is_stacked=False), "s")


def test_a_policy_with_most_of_the_rows_is_cut_so_that_others_are_not_padded_to_it() -> None:
    chunks = row_chunks(np.repeat([0, 1, 2, 3, 4], [100, 1, 1, 1, 1]), lambda n: n)
    assert chunks.is_split
    assert len(chunks.places) * chunks.length < 200
    assert chunks.places[chunks.chunk].tolist() == [0] * 100 + [1, 2, 3, 4]
    assert len(set(zip(chunks.chunk, chunks.offset, strict=True))) == 104


@given(st.lists(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=12), min_size=2, max_size=8))
@settings(max_examples=20, deadline=None)
def test_those_that_come_take_the_places_of_those_dropped_and_nobody_else_is_disturbed(
    calls: list[list[int]],
) -> None:
    acting, held = StackPolicy(GRAPH, "s"), set[int]()
    acting.reserve(14)
    for numbers in calls:
        gone = held - set(numbers) if len(held | set(numbers)) > 14 else set[int]()
        acting.drop(np.array(sorted(gone), np.int32))
        held = (held - gone) | set(numbers)
        acting.set_weights(stacked_mlp_weights(GRAPH, "s", sorted(set(numbers))))
        assert_right(acting, numbers)
        assert_right(acting, sorted(held))


def test_the_same_rows_are_laid_out_anew_where_a_policy_came_back_to_another_place() -> None:
    acting = StackPolicy(GRAPH, "s")
    acting.reserve(4)
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", [3, 5, 7, 9]))
    assert_right(acting, [3, 9])
    for goes, comes in (3, 11), (5, 3):
        acting.drop(np.array([goes], np.int32))
        acting.set_weights(stacked_mlp_weights(GRAPH, "s", [comes]))
    assert_right(acting, [3, 9])


def test_who_was_dropped_has_no_weights() -> None:
    acting = stack()
    assert_right(acting, [5])
    acting.drop(np.array([5, 1000], np.int32))
    with pytest.raises(ValueError, match="policy number 5 of stack 's' has no weights"):
        acting.act({"": np.zeros((1, 3), np.float32)}, np.array([5], np.int32), {})
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", [5], version=0))
    assert_right(acting, [3, 5, 61])
