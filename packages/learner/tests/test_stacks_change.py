"""Policies come, go, stop and start while others of their stack go on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import (
    APPOSettings,
    IMPALASettings,
    LearnerGroupSettings,
    MultiAgentLearner,
    MultiAgentPlan,
    OneRank,
    PPOSettings,
    StackPlan,
)
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import BoxSpace, DiscreteSpace, Fragment, WeightsStack, stack_tensors

SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
SETTINGS = {
    "ppo": PPOSettings(minibatch_size=8, num_epochs=1),
    "impala": IMPALASettings(minibatch_size=8),
    "appo": APPOSettings(circular_buffer_num_batches=1),
}


@pytest.fixture(params=list(SETTINGS))
def learner(request: pytest.FixtureRequest) -> MultiAgentLearner:
    """Policies 0, 2 and 4 in one stack."""
    recipe = PolicyRecipe(
        observation_space=SPACE,
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(8,), normalize_rewards=True),
        seed=0,
    )
    stack = StackPlan(name="s", policy=recipe, training=SETTINGS[request.param], seeds={0: 1, 2: 2, 4: 3})
    settings = LearnerGroupSettings()
    plan = MultiAgentPlan(algorithm=request.param, stacks=(stack,), settings=settings, seed=0)
    return plan.make_learner(OneRank(), torch.device("cpu"))


def played(lab: Any, numbers: Sequence[int], seed: int = 0) -> Fragment:
    """Let each of these act in two streams, of five and four rows."""
    fragment = lab.fragment(lab.policy(), (5, 4) * len(numbers), seed=seed)
    policy = np.repeat(np.array(numbers, np.int32), 2)
    return replace(fragment, streams=replace(fragment.streams, policy=policy))


def published(learner: MultiAgentLearner) -> tuple[WeightsStack, dict[int, Any]]:
    """Return the stack as it is published, and the weights of its policies by number."""
    weights = learner.publish()
    (stack,) = weights.stacks
    tensors = stack_tensors(weights, stack)
    flat = np.concatenate([tensor.reshape(len(tensor), -1) for tensor in tensors.values()], 1)
    return stack, dict(zip(stack.policies.tolist(), flat, strict=True))


def test_only_policies_that_changed_have_a_new_version(learner: MultiAgentLearner, lab: Any) -> None:
    assert published(learner)[0].versions.tolist() == [0, 0, 0]
    learner.update([played(lab, [0, 4])])
    assert published(learner)[0].versions.tolist() == [1, 0, 1]
    learner.update([played(lab, [2, 4])])
    assert published(learner)[0].versions.tolist() == [1, 2, 2]


def test_a_clone_begins_as_what_it_was_cloned_from_and_goes_its_own_way(
    learner: MultiAgentLearner, lab: Any
) -> None:
    learner.update([played(lab, [0, 2, 4])])
    published(learner)
    learner.add(5, stack="s", like=2)
    stack, weights = published(learner)
    assert (stack.policies.tolist(), stack.versions.tolist()) == ([0, 2, 4, 5], [1, 1, 1, 2])
    np.testing.assert_array_equal(weights[5], weights[2])
    learner.update([played(lab, [5], seed=1)])
    _, weights = published(learner)
    assert np.abs(weights[5] - weights[2]).max() > 1e-5


def test_a_new_policy_is_made_of_its_seed(learner: MultiAgentLearner) -> None:
    learner.add(9, stack="s", seed=2)
    _, weights = published(learner)
    np.testing.assert_array_equal(weights[9], weights[2])
    assert np.abs(weights[9] - weights[4]).max() > 1e-3


def test_who_leaves_is_not_published_and_others_learn_as_if_it_had_never_been(
    learner: MultiAgentLearner, lab: Any
) -> None:
    loaded = learner.load([played(lab, [0, 2, 4])])
    learner.remove(2)
    metrics = learner.update_rows(loaded)
    assert metrics["num_env_steps_trained"] == 18.0
    stack, _ = published(learner)
    assert stack.policies.tolist() == learner.numbers.tolist() == [0, 4]
    assert learner.policy_metrics()["num_env_steps_trained"].tolist() == [9.0, 9.0]


def test_the_last_policy_takes_its_stack_with_it(learner: MultiAgentLearner) -> None:
    for number in (0, 2, 4):
        learner.remove(number)
    assert (learner.publish().stacks, learner.numbers.tolist()) == ((), [])


def test_a_frozen_policy_stays_and_a_thawed_one_goes_on(learner: MultiAgentLearner, lab: Any) -> None:
    learner.update([played(lab, [0, 2, 4])])
    _, before = published(learner)
    learner.freeze([2])
    assert learner.update([played(lab, [0, 2], seed=1)])["num_env_steps_trained"] == 9.0
    stack, after = published(learner)
    assert stack.versions.tolist() == [2, 1, 1]
    np.testing.assert_array_equal(after[2], before[2])
    learner.thaw([2])
    learner.update([played(lab, [2], seed=2)])
    assert learner.policy_state(2)["counters"]["num_env_steps"] == 18


def test_a_policy_that_is_frozen_after_loading_stays(learner: MultiAgentLearner, lab: Any) -> None:
    _, before = published(learner)
    loaded = learner.load([played(lab, [0, 2])])
    learner.freeze([2])
    assert learner.update_rows(loaded)["num_env_steps_trained"] == 9.0
    np.testing.assert_array_equal(published(learner)[1][2], before[2])


def test_the_state_of_a_policy_makes_another_one_the_same(learner: MultiAgentLearner, lab: Any) -> None:
    learner.update([played(lab, [0])])
    learner.set_policy_state(4, learner.policy_state(0))
    _, weights = published(learner)
    np.testing.assert_array_equal(weights[4], weights[0])


def test_a_copy_of_a_frozen_policy_trains_unless_it_is_frozen_itself(
    learner: MultiAgentLearner, lab: Any
) -> None:
    learner.freeze([0])
    learner.set_policy_state(4, learner.policy_state(0))
    learner.add(5, stack="s", like=0)
    assert learner.update([played(lab, [0, 4, 5])])["num_env_steps_trained"] == 18.0


def test_all_comes_back_from_a_state_frozen_policies_too(learner: MultiAgentLearner, lab: Any) -> None:
    learner.freeze([4])
    learner.update([played(lab, [0, 2, 4])])
    state = learner.get_state()
    learner.thaw([4])
    for _ in range(2):
        learner.set_state(state)
        learner.update([played(lab, [0, 2, 4], seed=1)])
        _, weights = published(learner)
    again = learner.get_state()
    learner.set_state(state)
    learner.update([played(lab, [0, 2, 4], seed=1)])
    for number, tensor in published(learner)[1].items():
        np.testing.assert_array_equal(tensor, weights[number])
    assert learner.frozen == {4}
    assert again["version"] == learner.get_state()["version"] == 2


def test_a_policy_that_is_there_is_not_added_again(learner: MultiAgentLearner) -> None:
    with pytest.raises(ValueError, match=r"policy number 2 was used already.*take 5"):
        learner.add(2, stack="s")
    with pytest.raises(ValueError, match="there is no policy 7"):
        learner.add(8, stack="s", like=7)


def test_a_state_whose_stack_lacks_a_part_is_refused(learner: MultiAgentLearner) -> None:
    state = learner.get_state()
    del state["stacks"]["s"]["learner"]["second_moments"]
    with pytest.raises(ValueError, match="the learner's state lacks second_moments; it was not made by"):
        learner.set_state(state)
