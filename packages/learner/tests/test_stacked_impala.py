"""Policies that IMPALA trains together learn what each would learn alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.learner import IMPALALearner, IMPALASettings, StackedIMPALALearner
from outrider.learner.stacks.stacked_streams import StreamsByPolicy
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace, Fragment, take_policies

SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
LENGTHS = {0: (10, 6), 1: (17,), 2: (3, 1, 2, 2), 5: (6, 6, 6, 6, 6)}
OVERRIDES: dict[int, dict[str, Any]] = {
    1: {"lr": [[0, 3e-3], [60, 1e-4]]},
    5: {"gamma": 0.8, "grad_clip": 0.01},
}
SETTINGS = IMPALASettings(lr=1e-3, num_epochs=2, lambda_=0.9, normalize_advantages=True)


def recipe(number: int = 0) -> PolicyRecipe:
    module = ModuleSettings(fcnet_hiddens=(16,), normalize_rewards=True, normalize_observations=True)
    actions = DiscreteSpace(num_values=2)
    return PolicyRecipe(observation_space=SPACE, action_space=actions, settings=module, seed=10 + number)


def stacked(numbers: Mapping[int, Any] | tuple[int, ...], settings: IMPALASettings = SETTINGS) -> Any:
    stack = PolicyStack(recipe(), [10 + number for number in numbers])
    own = {number: OVERRIDES[number] for number in numbers if number in OVERRIDES}
    return StackedIMPALALearner(stack, settings, numbers=list(numbers), overrides=own, seed=4)


def played(lab: Any, seed: int) -> Fragment:
    """Let every policy act in streams of its own; their ratios to the acting policy differ from 1."""
    numbers = np.repeat(list(LENGTHS), [len(part) for part in LENGTHS.values()]).astype(np.int32)
    fragment = lab.fragment(lab.policy(), [n for part in LENGTHS.values() for n in part], seed=seed)
    return replace(fragment, streams=replace(fragment.streams, policy=numbers))


def assert_close(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor, theirs[name], rtol=0, atol=1e-5, err_msg=name)


def test_a_policy_learns_what_an_impala_learner_of_its_own_teaches(lab: Any) -> None:
    together = stacked(LENGTHS)
    alone = {
        number: IMPALALearner(recipe(number).build(), replace(SETTINGS, **OVERRIDES.get(number, {})), seed=0)
        for number in LENGTHS
    }
    before = together.policy_state(1)["module"]["network.value_head.bias"]
    for seed in range(3):
        fragment = played(lab, seed)
        together.update([fragment])
        metrics = {n: learner.update([take_policies(fragment, [n])]) for n, learner in alone.items()}
    for number, learner in alone.items():
        assert_close(together.policy_state(number)["module"], learner.get_state()["module"])
    assert abs(together.policy_state(1)["module"]["network.value_head.bias"] - before) > 1e-4
    for name, column in together.policy_metrics().items():
        each = [part[name] for part in metrics.values()]
        np.testing.assert_allclose(column, each, rtol=1e-3, atol=1e-5, err_msg=name)


def test_steps_of_whole_streams_do_not_depend_on_who_shares_the_stack(lab: Any) -> None:
    settings = replace(SETTINGS, minibatch_size=8)
    together, alone = stacked(LENGTHS, settings), {n: stacked((n,), settings) for n in LENGTHS}
    for seed in range(2):
        fragment = played(lab, seed)
        together.update([fragment])
        for number, learner in alone.items():
            learner.update([take_policies(fragment, [number])])
    for number, learner in alone.items():
        assert_close(together.policy_state(number)["module"], learner.policy_state(number)["module"])
    assert together.policy_metrics()["num_steps"].tolist() == [4.0, 2.0, 2.0, 8.0]


def test_a_policy_without_rows_does_not_move(lab: Any) -> None:
    learner = stacked(LENGTHS)
    before = learner.policy_state(2)
    learner.update([take_policies(played(lab, 0), [0, 1, 5])])
    after = learner.policy_state(2)
    for part in ("module", "first_moments", "second_moments", "counters"):
        for name, array in before[part].items():
            np.testing.assert_array_equal(array, after[part][name])


def test_numbers_of_one_policy_that_are_not_finite_stop_no_other(lab: Any) -> None:
    fragment = played(lab, 0)
    rewards = fragment.rewards.copy()
    rewards[20] = np.nan
    spoilt, sound = stacked(LENGTHS), stacked(LENGTHS)
    spoilt.update([replace(fragment, rewards=rewards)])
    sound.update([fragment])
    assert spoilt.policy_metrics()["skipped_steps"].tolist() == [0.0, 2.0, 0.0, 0.0]
    assert_close(spoilt.policy_state(5)["module"], sound.policy_state(5)["module"])
    weights = spoilt.policy_state(1)["module"]["network.value_head.bias"]
    np.testing.assert_array_equal(
        weights, stacked(LENGTHS).policy_state(1)["module"]["network.value_head.bias"]
    )


def test_streams_are_dealt_whole_to_about_equal_parts() -> None:
    place = np.array([0, 0, 1, -1, 0, 0, 0, 1])
    streams = StreamsByPolicy(place, np.array([2, 2, 3, 9, 2, 0, 2, 3]), np.array([8, 6]), 3)
    assert streams.num_parts_P.tolist() == [3, 2]
    keys, updates = np.array([1, 2], np.uint64), np.zeros(2, np.int64)
    drawn = [streams.parts(keys, updates, epoch) for epoch in range(20)]
    for part in drawn:
        assert part[[3, 5]].tolist() == [-1, -1]
        assert sorted(part[[0, 1, 4, 6]].tolist()) == [0, 0, 1, 2]
        assert sorted(part[[2, 7]].tolist()) == [0, 1]
    assert len({tuple(part.tolist()) for part in drawn}) > 5


@pytest.mark.parametrize("name", ["clip_param", "minibatch_size"])
def test_what_must_be_alike_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"policy 1 sets {name} for itself, which must be alike"):
        StackedIMPALALearner(
            PolicyStack(recipe(), [1]), SETTINGS, numbers=[1], overrides={1: {name: 1}}, seed=0
        )
