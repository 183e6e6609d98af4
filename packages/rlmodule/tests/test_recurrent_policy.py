"""Sequences of a recurrent policy equal its steps, one by one, whatever starts where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from outrider.rlmodule import ModuleSettings, Policy, build_policy, forward_by_steps
from outrider.wire import BoxSpace, DictSpace, DiscreteSpace, MultiBinarySpace, Space

BOX = BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32))
MASKED = DictSpace(
    spaces={"x": BOX, "k": DiscreteSpace(num_values=2), "action_mask": MultiBinarySpace(shape=(2,))}
)


def make(space: Space = BOX, **chosen: Any) -> Policy:
    policy = build_policy(
        space, DiscreteSpace(num_values=2), ModuleSettings(use_lstm=True, lstm_cell_size=5, **chosen), seed=3
    )
    torch.nn.init.normal_(policy.network.policy_head.linear.weight)
    return policy


def step_by_step(
    policy: Policy, observations: dict[str, Tensor], state: dict[str, Tensor], starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Walk each stream alone, as a runner would."""
    streams = []
    for s in range(starts.shape[0]):
        now = {name: rows[s : s + 1] for name, rows in state.items()}
        rows = []
        for t in range(starts.shape[1]):
            if starts[s, t]:
                now = {name: torch.zeros_like(tensor) for name, tensor in now.items()}
            seen = {path: column[s : s + 1, t] for path, column in observations.items()}
            parameters, values, now = policy.step(seen, now)
            rows.append((parameters[0], values[0]))
        streams.append((torch.stack([p for p, _ in rows]), torch.stack([v for _, v in rows])))
    return torch.stack([p for p, _ in streams]), torch.stack([v for _, v in streams])


def draw(policy: Policy, shape: tuple[int, ...], sample: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    columns = sample(policy.observation_space, shape[0] * shape[1])
    observations = {path: torch.from_numpy(c).unflatten(0, shape) for path, c in columns.items()}
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape[0], *spec.shape, generator=generator)
        for name, spec in policy.state_spec.items()
    }
    return observations, state


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("space", [BOX, MASKED], ids=["box", "masked dict"])
def test_a_sequence_equals_its_steps(space: Space, shared: bool, sample: Any) -> None:
    policy = make(space, vf_share_layers=shared)
    for seed, density in enumerate((0.0, 0.1, 0.5, 1.0)):
        observations, state = draw(policy, (4, 7), sample)
        starts = torch.rand(4, 7, generator=torch.Generator().manual_seed(seed)) < density
        together = policy.forward_sequence(observations, state, starts)
        torch.testing.assert_close(together, step_by_step(policy, observations, state, starts))


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 6))))
@settings(max_examples=60, deadline=None)
def test_a_sequence_equals_its_steps_whatever_starts_where(starts: np.ndarray[Any, Any]) -> None:
    policy = make(vf_share_layers=True)
    generator = torch.Generator().manual_seed(1)
    observations = {"": torch.randn(*starts.shape, 3, generator=generator)}
    state = {name: torch.randn(len(starts), 5, generator=generator) for name in ("h", "c")}
    tensor = torch.from_numpy(starts)
    together = policy.forward_sequence(observations, state, tensor)
    torch.testing.assert_close(together, step_by_step(policy, observations, state, tensor))


def test_a_sequence_has_the_gradients_of_its_steps(sample: Any) -> None:
    policy = make()
    observations, state = draw(policy, (3, 6), sample)
    starts = torch.rand(3, 6, generator=torch.Generator().manual_seed(0)) < 0.3
    gradients = []
    for result in (
        policy.forward_sequence(observations, state, starts),
        forward_by_steps(policy.network, observations[""], state, starts),
    ):
        policy.zero_grad()
        (result[0].square().sum() + result[1].square().sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in policy.parameters()])
    torch.testing.assert_close(*gradients)


def test_a_poisoned_state_does_not_outlive_a_start(sample: Any) -> None:
    policy = make()
    observations, state = draw(policy, (1, 2), sample)
    state = {name: torch.full_like(rows, torch.nan) for name, rows in state.items()}
    starts = torch.tensor([[True, False]])
    for parameters, values in (
        policy.forward_sequence(observations, state, starts),
        forward_by_steps(policy.network, observations[""], state, starts),
    ):
        assert torch.isfinite(parameters).all()
        assert torch.isfinite(values).all()


def test_the_state_carries_what_was_seen() -> None:
    policy = make()
    state = {name: torch.zeros(1, 5) for name in policy.state_spec}
    seen = policy.step({"": torch.ones(1, 3)}, state)[2]
    unseen = policy.step({"": -torch.ones(1, 3)}, state)[2]
    now = {"": torch.zeros(1, 3)}
    assert not torch.allclose(policy.step(now, seen)[0], policy.step(now, unseen)[0])


def test_a_separate_value_network_remembers_for_itself() -> None:
    assert set(make().state_spec) == {"h", "c", "value_h", "value_c"}
    assert set(make(vf_share_layers=True).state_spec) == {"h", "c"}


def test_forward_refuses_a_policy_that_needs_its_state() -> None:
    with pytest.raises(ValueError, match="call step or forward_sequence"):
        make()({"": torch.zeros(1, 3)})


def test_a_policy_without_memory_takes_sequences_too() -> None:
    policy = build_policy(MASKED, DiscreteSpace(num_values=2), ModuleSettings(), seed=0)
    observations = {
        "/x": torch.randn(2, 4, 3),
        "/k": torch.zeros(2, 4, dtype=torch.int64),
        "/action_mask": torch.ones(2, 4, 2, dtype=torch.int8),
    }
    parameters, values = policy.forward_sequence(observations, {}, torch.zeros(2, 4, dtype=torch.bool))
    flat = policy({path: rows.flatten(0, 1) for path, rows in observations.items()})
    torch.testing.assert_close((parameters.flatten(0, 1), values.flatten()), flat)
    assert not policy.is_recurrent
