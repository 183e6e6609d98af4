"""A learner that stopped goes on as if it had not."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.learner import PPOLearner, PPOSettings

SETTINGS = PPOSettings(
    minibatch_size=32,
    num_epochs=3,
    lr=[[0, 3e-3], [1000, 1e-4]],
    use_kl_loss=True,
    max_seq_len=7,
)


def fragments(lab: Any, policy: Any, seed: int) -> list[Any]:
    return [
        lab.fragment(policy, [30, 21], seed=seed),
        lab.fragment(policy, [40], seed=seed + 1, first_environment=2),
    ]


@pytest.mark.parametrize("use_lstm", [False, True])
def test_a_resumed_learner_gives_the_same_bits_as_one_that_never_stopped(lab: Any, use_lstm: bool) -> None:
    options = {"use_lstm": use_lstm, "normalize_observations": True, "normalize_rewards": True}
    learner = PPOLearner(lab.policy(**options), SETTINGS, seed=1)
    for seed in range(3):
        learner.update(fragments(lab, learner.policy, seed))
    resumed = PPOLearner(lab.policy(seed=9, **options), SETTINGS, seed=2)
    resumed.set_state(copy.deepcopy(learner.get_state()))
    for seed in range(3, 6):
        same_fragments = fragments(lab, learner.policy, seed)
        numbers = [one.update(same_fragments) for one in (learner, resumed)]
        seconds = {name for name in numbers[0] if name.endswith("_s")}
        assert {k: v for k, v in numbers[0].items() if k not in seconds} == {
            k: v for k, v in numbers[1].items() if k not in seconds
        }
    went_on, stopped = learner.publish(), resumed.publish()
    assert went_on.version == stopped.version == 6
    for name, tensor in went_on.tensors.items():
        np.testing.assert_array_equal(tensor, stopped.tensors[name])


def test_a_state_holds_nothing_but_plain_values_and_arrays(lab: Any) -> None:
    learner = PPOLearner(lab.policy(normalize_rewards=True), SETTINGS, seed=1)
    learner.update(fragments(lab, learner.policy, 0))

    def plain(tree: Any) -> bool:
        if isinstance(tree, dict):
            return all(type(key) is str and plain(value) for key, value in tree.items())
        return type(tree) in {str, int, float, bool, np.ndarray}

    assert plain(learner.get_state())


def test_a_state_is_a_copy(lab: Any) -> None:
    learner = PPOLearner(lab.policy(normalize_rewards=True), SETTINGS, seed=1)
    learner.update(fragments(lab, learner.policy, 0))
    state = learner.get_state()
    before = copy.deepcopy(state)
    learner.update(fragments(lab, learner.policy, 1))
    pairs = [(before[part], state[part]) for part in ("module", "reward_scale")]
    moments = ("first_moments", "second_moments")
    pairs += [(before["optimizer"][part], state["optimizer"][part]) for part in moments]
    for then, now in pairs:
        for name, array in then.items():
            np.testing.assert_array_equal(array, now[name])


def test_a_state_of_another_module_is_refused(lab: Any) -> None:
    learner = PPOLearner(lab.policy(), SETTINGS, seed=1)
    other = PPOLearner(lab.policy(fcnet_hiddens=(8,)), SETTINGS, seed=1)
    with pytest.raises(ValueError, match="do not fit this policy"):
        other.set_state(learner.get_state())


def test_a_state_that_lacks_a_part_is_refused_before_anything_changes(lab: Any) -> None:
    learner = PPOLearner(lab.policy(), SETTINGS, seed=1)
    state = learner.get_state()
    del state["generator"]
    with pytest.raises(ValueError, match="the learner's state lacks generator; it was not made by"):
        learner.set_state(state)


def test_settings_may_change_between_stopping_and_resuming(lab: Any) -> None:
    learner = PPOLearner(lab.policy(), SETTINGS, seed=1)
    learner.update(fragments(lab, learner.policy, 0))
    resumed = PPOLearner(lab.policy(), replace(SETTINGS, lr=0.5), seed=1)
    resumed.set_state(learner.get_state())
    assert resumed.update(fragments(lab, learner.policy, 1))["learning_rate"] == 0.5
