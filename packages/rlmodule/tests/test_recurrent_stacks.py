"""Policies that remember compute in a stack what each computes alone. Axes: see `stacked_sequences`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from outrider.rlmodule import (
    CRITIC_PATH,
    ModuleSettings,
    PolicyRecipe,
    PolicyStack,
    StackedSequences,
    side_by_side,
)
from outrider.wire import BoxSpace, DictSpace, DiscreteSpace, MultiBinarySpace

NUM_POLICIES, NUM_ROWS = 4, 9
LENGTHS = {0: [5, 2], 1: [1, 1, 4], 2: [3], 3: [9]}
"""Sequences of each policy, whose rows are its first ones in a mixed order; others are in none."""
FLAT = BoxSpace(low=np.full(3, -9, np.float32), high=np.full(3, 9, np.float32))
MASKED = DictSpace(spaces={"seen": FLAT, "action_mask": MultiBinarySpace(shape=(3,))})
Outputs = tuple[Tensor, Tensor, dict[str, Tensor]]
Sequence = tuple[int, np.ndarray, np.ndarray, dict[str, Tensor]]
PIXELS = BoxSpace(low=np.zeros((4, 5, 2), np.uint8), high=np.full((4, 5, 2), 255, np.uint8))


class Adding(nn.Module):
    """A recurrent network of the user's own."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.cell = nn.Linear(8, 5)
        self.policy, self.value = nn.Linear(5, num_action_parameters), nn.Linear(5, 1)

    def initial_state(self) -> dict[str, Tensor]:
        return {"sum": torch.zeros(5)}

    def forward(
        self, observation: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        added = torch.tanh(self.cell(torch.cat((observation, state["sum"]), -1)))
        return self.policy(added), self.value(added).squeeze(-1), {"sum": state["sum"] * 0.5 + added}


class Deciding(Adding):
    """Chooses in Python by the value of a tensor."""

    def forward(
        self, observation: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        return super().forward(-observation if observation.sum() > 0 else observation, state)


def recipe(case: str) -> PolicyRecipe:
    chosen: dict[str, dict[str, Any]] = {
        "shared": {"vf_share_layers": True},
        "normalised": {"normalize_observations": True},
        "no hidden layer": {"fcnet_hiddens": ()},
        "pixels": {"fcnet_hiddens": ModuleSettings().fcnet_hiddens},
    }
    settings = {"fcnet_hiddens": (6,), "lstm_cell_size": 5, "use_lstm": True} | chosen.get(case, {})
    return PolicyRecipe(
        observation_space={"masked": MASKED, "pixels": PIXELS}.get(case, FLAT),
        action_space=DiscreteSpace(num_values=3),
        settings=ModuleSettings() if case == "own" else ModuleSettings(**settings),
        network=Adding if case == "own" else None,
        critic_space=FLAT if case == "central" else None,
        seed=0,
    )


CASES = ("own values", "shared", "normalised", "masked", "central", "no hidden layer", "pixels", "own")


def made(case: str, sample: Any) -> tuple[PolicyStack, dict[str, Tensor]]:
    """Return a stack whose weights are far from their first ones, and rows [P, B, ...]."""
    own = recipe(case)
    stack = PolicyStack(own, range(NUM_POLICIES))
    generator = torch.Generator().manual_seed(3)
    for name in stack.parameter_names:
        stack.tensors[name] += 0.3 * torch.randn(stack.tensors[name].shape, generator=generator)
    drawn = sample(own.observation_space, NUM_POLICIES * NUM_ROWS)
    if own.critic_space is not None:
        drawn |= {f"{CRITIC_PATH}": sample(own.critic_space, NUM_POLICIES * NUM_ROWS, 1)[""]}
    rows = {
        path: torch.from_numpy(column).reshape(NUM_POLICIES, NUM_ROWS, *column.shape[1:])
        for path, column in drawn.items()
    }
    normalizer = stack.observation_normalizer(stack.tensors)
    if normalizer is not None:
        normalizer.merge(normalizer.measure_stacked(rows, torch.ones(NUM_POLICIES, NUM_ROWS) > 0))
    return stack, rows


def sequences_of(
    stack: PolicyStack,
) -> tuple[StackedSequences, list[tuple[int, np.ndarray, np.ndarray, Any]]]:
    """Return sequences, and for each its policy, rows, starts and state."""
    rng = np.random.default_rng(0)
    each = []
    for policy, lengths in LENGTHS.items():
        order, begun = rng.permutation(sum(lengths)), 0
        for length in lengths:
            starts = rng.random(length) < 0.3
            state = {
                name: torch.from_numpy(rng.normal(size=spec.shape).astype(np.float32))
                for name, spec in stack.plain.state_spec.items()
            }
            each.append((policy, order[begun : begun + length], starts, state))
            begun += length
    laid = side_by_side(
        np.array([policy for policy, *_ in each]),
        np.array([len(row) for _, row, *_ in each]),
        np.concatenate([row for _, row, *_ in each]),
        np.concatenate([starts for *_, starts, _ in each]),
        {name: torch.stack([state[name] for *_, state in each]) for name in stack.plain.state_spec},
        num_policies=NUM_POLICIES,
        num_rows=NUM_ROWS,
    )
    return laid, each


def test_sequences_lie_side_by_side() -> None:
    laid = side_by_side(
        np.array([0, 0, 1]),
        np.array([2, 3, 1]),
        np.array([3, 4, 0, 1, 2, 0]),
        np.array([False, False, False, True, False, False]),
        {"h": torch.tensor([[1.0], [2.0], [3.0]])},
        num_policies=2,
        num_rows=5,
    )
    assert laid.num_running_T == (2, 2, 1)
    assert laid.row_PL.tolist() == [[0, 3, 1, 4, 2], [5, 5, 5, 5, 5]]
    assert laid.is_row_PL.tolist() == [[True] * 5, [True, False, False, False, False]]
    assert laid.place_PB.tolist() == [[0, 2, 4, 1, 3], [5, 5, 5, 5, 5]]
    assert laid.is_placed_PB.tolist() == [[True] * 5, [True, False, False, False, False]]
    assert laid.starts_PL.tolist() == [[False, False, True, False, False], [False] * 5]
    assert laid.has_start_T == (False, True, False)
    assert laid.state["h"].flatten(1).tolist() == [[2.0, 1.0], [3.0, 0.0]]


@pytest.mark.parametrize("case", CASES)
def test_sequences_of_a_policy_compute_and_learn_in_a_stack_as_alone(sample: Any, case: str) -> None:
    stack, rows = made(case, sample)
    laid, each = sequences_of(stack)
    leaves = {name: tensor.clone() for name, tensor in stack.tensors.items()}
    for name in stack.parameter_names:
        leaves[name].requires_grad_()
    parameters, values, states = stack.unroll_with(leaves, rows, laid)
    loss = (parameters.square().sum(2) + values.square())[laid.is_placed_PB].sum()
    loss.backward()
    for place in range(NUM_POLICIES):
        policy, total = stack.policy(place), torch.zeros(())
        for _, row, starts, state in (one for one in each if one[0] == place):
            own = {path: column[place, row][None] for path, column in rows.items()}
            before = {name: column[None] for name, column in state.items()}
            expected = policy.forward_sequence(own, before, torch.from_numpy(starts)[None])
            torch.testing.assert_close(parameters[place, row], expected[0][0], rtol=0, atol=1e-5)
            torch.testing.assert_close(values[place, row], expected[1][0], rtol=0, atol=1e-5)
            total = total + expected[0].square().sum() + expected[1].square().sum()
            at = laid.place_PB[place, row] - place * laid.row_PL.shape[1]
            for index in range(len(row)):
                one = {path: column[:, index] for path, column in own.items()}
                if starts[index]:
                    before = {name: torch.zeros_like(column) for name, column in before.items()}
                before = policy.step(one, before)[2]
                for name, column in before.items():
                    after = states[name][place, at[index]]
                    torch.testing.assert_close(after, column[0], rtol=0, atol=1e-5)
        total.backward()
        for name, parameter in policy.named_parameters():
            stacked = leaves[name].grad
            assert (stacked is None) == (parameter.grad is None)
            if stacked is not None and parameter.grad is not None:
                torch.testing.assert_close(stacked[place], parameter.grad, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_that_of_each_policy_alone_and_so_is_the_graphs(sample: Any, case: str) -> None:
    stack, rows = made(case, sample)
    state = {
        name: torch.randn(NUM_POLICIES, NUM_ROWS, *spec.shape)
        for name, spec in stack.plain.state_spec.items()
    }
    with torch.no_grad():
        parameters, _, next_state = stack.step_with(stack.tensors, rows, state)
        for place in range(NUM_POLICIES):
            own = {path: column[place] for path, column in rows.items()}
            expected, _, after = stack.policy(place).step(
                own, {n: column[place] for n, column in state.items()}
            )
            torch.testing.assert_close(parameters[place], expected, rtol=0, atol=1e-5)
            for name, column in after.items():
                torch.testing.assert_close(next_state[name][place], column, rtol=0, atol=1e-5)
    session = onnxruntime.InferenceSession(stack.policy_graph().model)
    offered = {f"observation{path}": column for path, column in rows.items()}
    offered |= {f"weights/{name}": tensor for name, tensor in stack.tensors.items()}
    offered |= {f"state/{name}": column for name, column in state.items()}
    for num_policies, num_rows in ((NUM_POLICIES, NUM_ROWS), (1, 1), (NUM_POLICIES, 1), (1, NUM_ROWS)):
        feed = {
            node.name: (
                offered[node.name][:num_policies]
                if node.name.startswith("weights/")
                else offered[node.name][:num_policies, :num_rows]
            ).numpy()
            for node in session.get_inputs()
        }
        names = ["action_parameters", *(f"next_state/{name}" for name in state)]
        for ours, wanted in zip(session.run(names, feed), (parameters, *next_state.values()), strict=True):
            np.testing.assert_allclose(ours, wanted[:num_policies, :num_rows], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("case", ["own values", "own"])
def test_what_is_not_a_number_stays_with_its_policy_and_its_episode(sample: Any, case: str) -> None:
    stack, rows = made(case, sample)
    laid, each = sequences_of(stack)
    sound = stack.unroll_with(stack.tensors, rows, laid)[0]
    first = next(one for one in each if one[0] == 1)
    rows[""][1, first[1]] = torch.nan
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in stack.tensors.items()}
    parameters = stack.unroll_with(leaves, rows, laid)[0]
    parameters.square().sum(2)[laid.is_placed_PB].sum().backward()
    for place in (0, 2, 3):
        placed = laid.is_placed_PB[place]
        torch.testing.assert_close(parameters[place, placed], sound[place, placed])
        gradients = [leaf.grad[place] for leaf in leaves.values() if leaf.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)
    assert parameters[1, first[1]].isnan().all()
    others = [row for policy, row, *_ in each if policy == 1][1:]
    for row in others:
        torch.testing.assert_close(parameters[1, row], sound[1, row])


def test_calls_that_do_not_fit_a_stack_are_refused_with_the_cure(sample: Any) -> None:
    stack, rows = made("shared", sample)
    with pytest.raises(ValueError, match="these policies are recurrent; call step_with or unroll_with"):
        stack(rows)
    plain = PolicyStack(dataclasses.replace(recipe("shared"), settings=ModuleSettings()), [1])
    with pytest.raises(ValueError, match="these policies are not recurrent; call forward_with"):
        plain.unroll_with(plain.tensors, rows, sequences_of(stack)[0])


def test_a_recurrent_network_that_cannot_be_stacked_is_named_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"Deciding cannot be stacked: torch.vmap says: .*; give each such"):
        PolicyStack(dataclasses.replace(recipe("own"), network=Deciding), [1])
