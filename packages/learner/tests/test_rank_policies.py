"""Policies that come and go on ranks are those that come and go in one process; without any process."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import (
    LearnerGroupSettings,
    LocalLearnerGroup,
    MultiAgentLearner,
    MultiAgentPlan,
    OneRank,
    PPOSettings,
    StackPlan,
)
from outrider.learner.groups.learned_policies import PoliciesHere
from outrider.learner.groups.rank_policies import RankPolicies
from outrider.learner.plans.policy_slices import join_weights, part_of_rank
from outrider.learner.ranks import ApartRank
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import BoxSpace, DiscreteSpace, Fragment

CPU = torch.device("cpu")
SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))


def stack(name: str, *numbers: int, **changes: Any) -> StackPlan:
    recipe = PolicyRecipe(
        observation_space=SPACE,
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(8,), normalize_rewards=True),
        seed=0,
    )
    return StackPlan(
        name=name,
        policy=recipe,
        training=PPOSettings(minibatch_size=8, num_epochs=2),
        seeds={number: number for number in numbers},
        **changes,
    )


PLAN = MultiAgentPlan(
    algorithm="ppo",
    stacks=(stack("many", 0, 2, overrides={2: {"lr": 0.01}}), stack("sole", 1, is_stacked=False)),
    frozen=frozenset({2}),
    settings=LearnerGroupSettings(),
    seed=3,
)


class Whole:
    """All policies in one learner."""

    def __init__(self) -> None:
        self.learner = PLAN.make_learner(OneRank(), CPU)
        group = LocalLearnerGroup(self.learner)
        self.policies = PoliciesHere(self.learner, group, algorithm="ppo", seed=3, device=CPU)


class Pair:
    """Two learners that have the even and the odd numbers."""

    def __init__(self) -> None:
        self.learners = [PLAN.make_learner(ApartRank(rank, 2), CPU) for rank in range(2)]
        self.calls = [RankPolicies(learner, PLAN, device=CPU).calls for learner in self.learners]


@pytest.fixture
def whole() -> Whole:
    return Whole()


@pytest.fixture
def pair() -> Pair:
    return Pair()


def update(learners: list[MultiAgentLearner], lab: Any, numbers: tuple[int, ...]) -> None:
    fragment: Fragment = lab.fragment(lab.policy(), (7,) * len(numbers), seed=4)
    played = replace(fragment, streams=replace(fragment.streams, policy=np.array(numbers, np.int32)))
    for rank, learner in enumerate(learners):
        learner.update([part_of_rank(played, rank, len(learners))])


def assert_equal(pair: Pair, whole: Whole) -> None:
    joined = join_weights([learner.publish() for learner in pair.learners])
    expected = whole.learner.publish()
    assert joined.version == expected.version
    assert joined.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        np.testing.assert_allclose(joined.tensors[name], tensor, rtol=0, atol=1e-6, err_msg=name)


def test_a_copy_is_made_where_no_policy_of_its_stack_was_and_trains_by_its_own_settings(
    pair: Pair, whole: Whole, lab: Any
) -> None:
    added = stack("many", 3, overrides={3: {"lr": 0.01}})
    state = pair.calls[0]["policy_state"](2)["state"]
    pair.calls[1]["add_policy"](added.to_message(), state)
    pair.calls[0]["count_change"]()
    whole.policies.add(added, like=2)
    for learners in (pair.learners, [whole.learner]):
        update(learners, lab, (0, 1, 2, 3))
    assert_equal(pair, whole)
    assert whole.learner.policy_metrics()["learning_rate"][3] == 0.01
    assert whole.policies.frozen == {2}


def test_ranks_stay_in_step_while_policies_come_and_go(pair: Pair, whole: Whole, lab: Any) -> None:
    added = stack("other", 5, is_stacked=False)
    pair.calls[1]["add_policy"](added.to_message(), None)
    pair.calls[1]["remove_policy"](1)
    for _ in range(2):
        pair.calls[0]["count_change"]()
    pair.calls[0]["thaw"]([2])
    pair.calls[0]["freeze"]([0])
    whole.policies.add(added, like=None)
    whole.policies.remove(1)
    whole.policies.thaw([2])
    whole.policies.freeze([0])
    for learners in (pair.learners, [whole.learner]):
        update(learners, lab, (0, 2, 5))
    assert_equal(pair, whole)
    assert [calls["policies"]()["frozen"] for calls in pair.calls] == [[0], []]
    assert pair.calls[1]["policies"]()["numbers"].tolist() == [5]


def test_a_plan_follows_the_policies() -> None:
    plan = PLAN.with_policy(stack("many", 3)).with_policy(stack("new", 4)).without(2).without(1)
    assert [(each.name, sorted(each.seeds)) for each in plan.stacks] == [("many", [0, 3]), ("new", [4])]
    assert plan.frozen == frozenset()
    assert plan.stacks[0].overrides == {}
