"""Policies that APPO trains together learn what each would learn alone, old rows included."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.learner import APPOLearner, APPOSettings, StackedAPPOLearner
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace, Fragment, take_policies

SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
LENGTHS = {0: (9, 4), 1: (17,), 2: (3, 1, 2, 2), 5: (6, 6, 6, 6, 6)}
OVERRIDES: dict[int, dict[str, Any]] = {
    1: {"lr": [[0, 3e-3], [60, 1e-4]], "kl_target": 1e-4},
    5: {"gamma": 0.8, "clip_param": 0.05},
}
SETTINGS = APPOSettings(
    lr=1e-3, use_kl_loss=True, tau=0.5, target_network_update_freq=2, circular_buffer_num_batches=3
)
WHO_ACTS = ([0, 1, 2, 5], [0, 1, 5], [1, 2, 5], [1], [0, 1, 2, 5], [0, 2], [0, 1, 2, 5])


def recipe(number: int = 0) -> PolicyRecipe:
    module = ModuleSettings(fcnet_hiddens=(16,), normalize_rewards=True, normalize_observations=True)
    actions = DiscreteSpace(num_values=2)
    return PolicyRecipe(observation_space=SPACE, action_space=actions, settings=module, seed=10 + number)


def stacked(numbers: Iterable[int] = LENGTHS, settings: APPOSettings = SETTINGS) -> StackedAPPOLearner:
    numbers = list(numbers)
    stack = PolicyStack(recipe(), [10 + number for number in numbers])
    own = {number: OVERRIDES[number] for number in numbers if number in OVERRIDES}
    return StackedAPPOLearner(stack, settings, numbers=numbers, overrides=own, seed=4)


def played(lab: Any, seed: int) -> Fragment:
    """Let every policy act in streams of its own; their ratios to the acting policy differ from 1."""
    numbers = np.repeat(list(LENGTHS), [len(part) for part in LENGTHS.values()]).astype(np.int32)
    fragment = lab.fragment(lab.policy(), [n for part in LENGTHS.values() for n in part], seed=seed)
    return replace(fragment, streams=replace(fragment.streams, policy=numbers))


def assert_close(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor, theirs[name], rtol=0, atol=1e-5, err_msg=name)


def test_a_policy_learns_what_an_appo_learner_of_its_own_teaches(lab: Any) -> None:
    """Whatever updates it is missing in, and however long others make its old rows wait."""
    together = stacked()
    alone = {
        number: APPOLearner(recipe(number).build(), replace(SETTINGS, **OVERRIDES.get(number, {})), seed=0)
        for number in LENGTHS
    }
    for seed, acting in enumerate(WHO_ACTS):
        fragment = played(lab, seed)
        together.update([take_policies(fragment, acting)])
        metrics = {n: alone[n].update([take_policies(fragment, [n])]) for n in acting}
    for number, learner in alone.items():
        assert_close(together.policy_state(number)["module"], learner.get_state()["module"])
        assert_close(together.policy_state(number)["target"], learner.get_state()["target"])
    for name, column in together.policy_metrics().items():
        each = [part[name] for part in metrics.values()]
        np.testing.assert_allclose(column, each, rtol=1e-3, atol=1e-5, err_msg=name)
    assert together.policy_metrics()["num_steps"].tolist() == [2.0, 2.0, 2.0, 2.0]


def test_steps_of_whole_streams_do_not_depend_on_who_shares_the_stack(lab: Any) -> None:
    settings = replace(SETTINGS, minibatch_size=8, num_epochs=2)
    together, alone = stacked(settings=settings), {n: stacked([n], settings) for n in LENGTHS}
    for seed, acting in enumerate(WHO_ACTS[:5]):
        fragment = played(lab, seed)
        together.update([take_policies(fragment, acting)])
        for number in acting:
            alone[number].update([take_policies(fragment, [number])])
    for number, learner in alone.items():
        assert_close(together.policy_state(number)["module"], learner.policy_state(number)["module"])
    assert together.policy_metrics()["num_steps"].tolist() == [8.0, 4.0, 4.0, 16.0]
    assert together.policy_metrics()["num_epochs"].tolist() == [4.0, 4.0, 4.0, 4.0]


def test_a_pause_of_one_policy_changes_nothing_for_it_or_others(lab: Any) -> None:
    paused, without, always = stacked(), stacked(), stacked()
    for seed in range(5):
        fragment = played(lab, seed)
        (paused.freeze if seed in {1, 2} else paused.thaw)([1])
        paused.update([take_policies(fragment, [0, 2, 5] if seed in {1, 2} else [0, 1, 2, 5])])
        without.update([take_policies(fragment, [0, 2, 5] if seed in {1, 2} else [0, 1, 2, 5])])
        always.update([fragment])
    assert_close(paused.policy_state(1)["module"], without.policy_state(1)["module"])
    assert_close(paused.policy_state(0)["module"], always.policy_state(0)["module"])


def test_what_a_policy_plays_while_it_is_frozen_it_never_learns_from(lab: Any) -> None:
    frozen, without = stacked(), stacked()
    frozen.freeze([1])
    frozen.update([played(lab, 0)])
    frozen.thaw([1])
    without.update([take_policies(played(lab, 0), [0, 2, 5])])
    for learner in (frozen, without):
        learner.update([played(lab, 1)])
    assert frozen.policy_metrics()["num_steps"].tolist() == without.policy_metrics()["num_steps"].tolist()


def test_a_policy_whose_state_is_set_begins_with_fresh_rows_and_others_go_on(lab: Any) -> None:
    learner, undisturbed, fresh = stacked(), stacked(), stacked([1])
    for seed in range(3):
        for each in (learner, undisturbed):
            each.update([played(lab, seed)])
    learner.set_policy_state(1, stacked([1]).policy_state(1))
    for seed in range(3, 5):
        for each in (learner, undisturbed):
            each.update([played(lab, seed)])
        fresh.update([take_policies(played(lab, seed), [1])])
    assert_close(learner.policy_state(1)["module"], fresh.policy_state(1)["module"])
    assert_close(learner.policy_state(5)["module"], undisturbed.policy_state(5)["module"])


def test_policies_come_and_go_with_their_target_networks(lab: Any) -> None:
    learner, sparse = stacked(), stacked([0, 2, 5])
    for seed in range(3):
        learner.update([played(lab, seed)])
        sparse.update([take_policies(played(lab, seed), [0, 2, 5])])
    learner.add(3, like=0, seed=0)
    assert_close(learner.policy_state(3)["target"], learner.policy_state(0)["target"])
    learner.remove(1)
    learner.add(4, like=None, seed=7)
    assert_close(learner.policy_state(4)["target"], learner.policy_state(4)["module"])
    for seed in range(3, 6):
        for each in (learner, sparse):
            each.update([take_policies(played(lab, seed), [0, 2, 5])])
    for number in (0, 2, 5):
        assert_close(learner.policy_state(number)["module"], sparse.policy_state(number)["module"])


def test_rows_that_nobody_needs_are_not_kept(lab: Any) -> None:
    learner = stacked()
    learner.update([played(lab, 0)])
    for seed in range(1, 9):
        learner.update([take_policies(played(lab, seed), [0, 1, 5])])
    rows = sum(len(rows) for rows in learner._buffer._newest_first)
    assert rows == 2 * 60 + 8  # policy 2 comes back to its old ones


@pytest.mark.parametrize("number", [0, 5])
def test_a_state_goes_on_with_fresh_rows(lab: Any, number: int) -> None:
    settings = replace(SETTINGS, circular_buffer_num_batches=1)
    learner, resumed = stacked(settings=settings), stacked(settings=settings)
    learner.update([played(lab, 0)])
    resumed.set_state(learner.get_state())
    for each in (learner, resumed):
        each.update([played(lab, 1)])
    assert_close(learner.policy_state(number)["module"], resumed.policy_state(number)["module"])
