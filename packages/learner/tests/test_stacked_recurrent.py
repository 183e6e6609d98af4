"""Policies that remember learn together what each learns alone, by every algorithm."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from outrider.learner import (
    APPOLearner,
    APPOSettings,
    IMPALALearner,
    IMPALASettings,
    PPOLearner,
    PPOSettings,
    StackedAPPOLearner,
    StackedIMPALALearner,
    StackedPPOLearner,
)
from outrider.learner.rows.row_orders import KeyedOrders
from outrider.learner.rows.shuffles import shuffle_keys
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace, Fragment, take_policies

SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
LENGTHS = {0: (9, 4), 1: (31,), 2: (3, 1, 2, 2), 5: (6, 6, 6, 6, 6), 6: (1,)}
SEED = 4
CASES: dict[str, dict[str, Any]] = {
    "own values": {},
    "shared": {"vf_share_layers": True},
    "normalised": {"normalize_observations": True, "normalize_rewards": True},
}
ALGORITHMS: dict[str, tuple[Any, Any, Any]] = {
    "ppo": (
        PPOLearner,
        StackedPPOLearner,
        PPOSettings(lr=3e-3, max_seq_len=4, minibatch_size=7, num_epochs=2, use_kl_loss=True),
    ),
    "ppo, few sequences": (
        PPOLearner,
        StackedPPOLearner,
        PPOSettings(lr=3e-3, max_seq_len=20, minibatch_size=4, num_epochs=2),
    ),
    "ppo in one minibatch": (
        PPOLearner,
        StackedPPOLearner,
        PPOSettings(lr=3e-3, max_seq_len=4, minibatch_size=64, num_epochs=2),
    ),
    "ppo without a cut": (
        PPOLearner,
        StackedPPOLearner,
        PPOSettings(lr=3e-3, max_seq_len=20, minibatch_size=64, num_epochs=3, early_stop_kl=1e-3),
    ),
    "ppo that estimates anew": (
        PPOLearner,
        StackedPPOLearner,
        PPOSettings(lr=3e-3, max_seq_len=4, minibatch_size=7, recompute_advantages=True, num_epochs=3),
    ),
    "impala": (IMPALALearner, StackedIMPALALearner, IMPALASettings(lr=1e-3, num_epochs=2)),
    "impala in parts": (
        IMPALALearner,
        StackedIMPALALearner,
        IMPALASettings(lr=1e-3, minibatch_size=8, normalize_advantages=True),
    ),
    "appo": (
        APPOLearner,
        StackedAPPOLearner,
        APPOSettings(lr=1e-3, use_kl_loss=True, target_network_update_freq=2, circular_buffer_num_batches=3),
    ),
    "appo in parts": (APPOLearner, StackedAPPOLearner, APPOSettings(lr=1e-3, minibatch_size=8)),
}


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


def recipe(case: str, number: int = 0) -> PolicyRecipe:
    module = ModuleSettings(use_lstm=True, fcnet_hiddens=(6,), lstm_cell_size=5, **CASES.get(case, {}))
    if case == "own":
        module = ModuleSettings()
    return PolicyRecipe(
        observation_space=SPACE,
        action_space=DiscreteSpace(num_values=2),
        settings=module,
        seed=10 + number,
        network=Adding if case == "own" else None,
        critic_space=SPACE if case == "central" else None,
    )


def together(algorithm: str, case: str, numbers: Sequence[int] = tuple(LENGTHS)) -> Any:
    _, stacked, settings = ALGORITHMS[algorithm]
    stack = PolicyStack(recipe(case), [10 + number for number in numbers])
    return stacked(stack, settings, numbers=numbers, seed=SEED)


def alone(algorithm: str, case: str, number: int) -> Any:
    """Return a learner of one policy, whose orders are those that it has in a stack."""
    plain, _, settings = ALGORITHMS[algorithm]
    (key,) = shuffle_keys(SEED, np.array([number]))
    return plain(recipe(case, number).build(), settings, seed=0, orders=KeyedOrders(int(key)))


def played(lab: Any, case: str, seed: int) -> Fragment:
    """Let every policy act in streams of its own, in a mixed order; episodes end in them."""
    numbers = np.repeat(list(LENGTHS), [len(part) for part in LENGTHS.values()]).astype(np.int32)
    lengths = np.array([n for part in LENGTHS.values() for n in part])
    order = np.random.default_rng(seed).permutation(len(numbers))
    fragment = lab.fragment(recipe(case).build(), lengths[order].tolist(), seed=seed, end_probability=0.2)
    fragment = replace(fragment, streams=replace(fragment.streams, policy=numbers[order]))
    if case != "central":
        return fragment
    rng, num_rows, num_next = np.random.default_rng(seed), fragment.num_rows, len(fragment.next_rows)
    return replace(
        fragment,
        critic_states={"": rng.normal(size=(num_rows + num_next, 3)).astype(np.float32)},
        critic_rows=np.arange(num_rows),
        next_critic_rows=num_rows + np.arange(num_next),
    )


def assert_close(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor, theirs[name], rtol=0, atol=1e-5, err_msg=name)


def check_equal(lab: Any, algorithm: str, case: str, num_updates: int = 2) -> None:
    stacked = together(algorithm, case)
    learners = {number: alone(algorithm, case, number) for number in LENGTHS}
    first = {number: learner.get_state()["module"] for number, learner in learners.items()}
    for seed in range(num_updates):
        fragment = played(lab, case, seed)
        stacked.update([fragment])
        metrics = [one.update([take_policies(fragment, [n])]) for n, one in learners.items()]
    for number, learner in learners.items():
        state, expected = stacked.policy_state(number), learner.get_state()
        assert_close(state["module"], expected["module"])
        assert_close(state["first_moments"], expected["optimizer"]["first_moments"])
        assert_close(state.get("target", {}), expected.get("target", {}))
        weight = "network.cell.weight" if case == "own" else "network.policy_memory.lstm.weight_hh_l0"
        if sum(LENGTHS[number]) > 1:
            assert np.abs(state["module"][weight] - first[number][weight]).max() > 1e-4
    for name, column in stacked.policy_metrics().items():
        each = [part[name] for part in metrics]
        np.testing.assert_allclose(column, each, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_policy_learns_what_a_learner_of_its_own_teaches(lab: Any, algorithm: str) -> None:
    check_equal(lab, algorithm, "own values", num_updates=3 if "appo" in algorithm else 2)


@pytest.mark.parametrize("case", ["shared", "normalised", "central", "own"])
@pytest.mark.parametrize("algorithm", ["ppo", "impala"])
def test_so_it_does_however_its_network_is_made(lab: Any, algorithm: str, case: str) -> None:
    check_equal(lab, algorithm, case)


@pytest.mark.parametrize("algorithm", ["ppo", "impala in parts", "appo"])
def test_it_makes_no_difference_how_blocks_are_cut(
    lab: Any, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from outrider.learner.stacks import blocks

    at_once, in_blocks, fragment = together(algorithm, ""), together(algorithm, ""), played(lab, "", 0)
    at_once.update([fragment])
    monkeypatch.setattr(blocks.cut_blocks, "__kwdefaults__", {"max_policies": 2})
    in_blocks.update([fragment])
    for number in LENGTHS:
        assert_close(at_once.policy_state(number)["module"], in_blocks.policy_state(number)["module"])


@pytest.mark.parametrize("algorithm", ["ppo", "impala", "appo"])
def test_numbers_of_one_policy_that_are_not_finite_stop_no_other(lab: Any, algorithm: str) -> None:
    fragment = played(lab, "", 0)
    spoilt, sound = together(algorithm, ""), together(algorithm, "")
    stream = int(np.flatnonzero(fragment.streams.policy == 1)[0])
    observations = fragment.observations[""].copy()
    observations[int(fragment.streams.lengths[:stream].sum())] = np.nan
    state = {name: column.copy() for name, column in fragment.streams.state.items()}
    state["c"][stream] = np.inf
    streams = replace(fragment.streams, state=state)
    spoilt.update([replace(fragment, observations={"": observations}, streams=streams)])
    sound.update([fragment])
    for number in LENGTHS:
        expected = sound.policy_state(number) if number != 1 else together(algorithm, "").policy_state(number)
        assert_close(spoilt.policy_state(number)["module"], expected["module"])
    assert spoilt.policy_metrics()["skipped_steps"][1] == spoilt.policy_metrics()["num_steps"][1] > 0
