"""Every learner values rows by what a central critic sees, whoever shares it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import make_learner, make_stacked_learner, settings_class
from outrider.learner.training.algorithm_settings import ALGORITHMS
from outrider.rlmodule import ModuleSettings, Policy, PolicyRecipe, PolicyStack, build_policy
from outrider.wire import BoxSpace, DiscreteSpace, Fragment, take_policies

BOX = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
STATE = BoxSpace(low=np.full(2, -np.inf, np.float32), high=np.full(2, np.inf, np.float32))
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)
with_and_without_memory = pytest.mark.parametrize("use_lstm", [False, True])


def policy(*, use_lstm: bool = False) -> Policy:
    memory: dict[str, Any] = {"use_lstm": True, "lstm_cell_size": 8} if use_lstm else {}
    module = ModuleSettings(fcnet_hiddens=(16,), vf_share_layers=False, normalize_observations=True, **memory)
    return build_policy(BOX, DiscreteSpace(num_values=2), module, seed=0, critic_space=STATE)


def learner(name: str, *, use_lstm: bool = False, **settings: Any) -> Any:
    chosen = settings_class(name)(minibatch_size=16, **({"lr": 0.01} | settings))
    return make_learner(name, policy(use_lstm=use_lstm), chosen, seed=0)


def with_states(lab: Any, fragment: Fragment, *, seed: int = 0) -> Fragment:
    """Let two streams, of two agents of an environment, see one state in each step."""
    steps = fragment.num_rows // 2
    row = np.arange(fragment.num_rows) % steps
    next_row = steps + np.arange(len(fragment.next_rows))
    states = np.random.default_rng(seed).normal(size=(steps + len(next_row), 2)).astype(np.float32)
    return replace(fragment, critic_states={"": states}, critic_rows=row, next_critic_rows=next_row)


def spread_out(fragment: Fragment) -> Fragment:
    """Give each row and each next observation a state of its own."""
    uses = np.concatenate((fragment.critic_rows, fragment.next_critic_rows))
    rows, nexts = np.split(np.arange(len(uses)), [fragment.num_rows])
    states = {"": fragment.critic_states[""][uses]}
    return replace(fragment, critic_states=states, critic_rows=rows, next_critic_rows=nexts)


@every_algorithm
@with_and_without_memory
def test_states_that_agents_share_count_as_those_of_each(lab: Any, name: str, use_lstm: bool) -> None:
    shared, own = learner(name, use_lstm=use_lstm), learner(name, use_lstm=use_lstm)
    for seed in range(2):
        fragment = with_states(lab, lab.fragment(shared.policy, (12, 12), seed=seed), seed=seed)
        shared.update([fragment])
        own.update([spread_out(fragment)])
    for key, tensor in shared.publish().tensors.items():
        np.testing.assert_array_equal(tensor, own.publish().tensors[key])


@every_algorithm
def test_values_come_to_depend_on_the_state(lab: Any, name: str) -> None:
    trained = learner(name, lr=0.03)
    for seed in range(20):
        fragment = with_states(lab, lab.fragment(trained.policy, (24, 24), seed=seed), seed=seed)
        ended = np.ones(48, bool)
        paid = fragment.critic_states[""][fragment.critic_rows, 0]
        fragment = replace(fragment, rewards=paid, terminated=ended, truncated=~ended)
        fragment = replace(
            fragment, next_rows=fragment.next_rows[:0], next_critic_rows=fragment.next_rows[:0]
        )
        trained.update([replace(fragment, next_observations={"": fragment.next_observations[""][:0]})])
    seen = {"": torch.zeros(2, 3), "critic": torch.tensor([[-1.0, 0.0], [1.0, 0.0]])}
    low, high = trained.policy(seen)[1].tolist()
    assert high - low > 0.5


@every_algorithm
def test_stacked_policies_share_states_and_learn_what_each_learns_alone(lab: Any, name: str) -> None:
    recipe = PolicyRecipe(
        observation_space=BOX,
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(16,), vf_share_layers=False, normalize_observations=True),
        seed=0,
        critic_space=STATE,
    )
    settings = settings_class(name)(minibatch_size=32, lr=0.01)
    stack = PolicyStack(recipe, [0, 1])
    together = make_stacked_learner(stack, settings, numbers=[0, 1], name="both", seed=0)
    alone = [make_learner(name, replace(recipe, seed=seed).build(), settings, seed=0) for seed in (0, 1)]
    for seed in range(3):
        fragment = with_states(lab, lab.fragment(alone[0].policy, (12, 12), seed=seed), seed=seed)
        policies = np.array([0, 1], np.int32)
        fragment = replace(fragment, streams=replace(fragment.streams, policy=policies))
        together.update([fragment])
        for number, each in enumerate(alone):
            each.update([take_policies(fragment, [number])])
    for number, each in enumerate(alone):
        ours, theirs = (one["module"] for one in (together.policy_state(number), each.get_state()))
        for key, array in ours.items():
            np.testing.assert_allclose(array, theirs[key], rtol=0, atol=1e-5, err_msg=key)
