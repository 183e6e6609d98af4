"""Ranks that own policies learn what one learner of all of them learns, and need no sums for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import LearnerGroupSettings, MultiAgentLearner, OneRank, PPOSettings
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.plans.policy_slices import join_states, join_weights, part_of_rank, state_of_rank
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import BoxSpace, DiscreteSpace, Fragment

CPU = torch.device("cpu")
SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
LENGTHS = {0: (9, 4), 1: (17,), 2: (3, 1, 2), 3: (30,), 5: (6, 6)}


class Rank:
    """Stands in for a group of which this is one; it sums nothing."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def recipe(**settings: Any) -> PolicyRecipe:
    module = ModuleSettings(
        fcnet_hiddens=(16,), normalize_rewards=True, normalize_observations=True, **settings
    )
    return PolicyRecipe(
        observation_space=SPACE, action_space=DiscreteSpace(num_values=2), settings=module, seed=0
    )


def plan() -> MultiAgentPlan:
    """Policies 0, 1, 2, 3 and 5 in a stack, and 4 alone."""
    training = PPOSettings(minibatch_size=8, num_epochs=2, lr=1e-3, use_kl_loss=True)
    many = StackPlan(
        name="many",
        policy=recipe(),
        training=training,
        seeds={number: 10 + number for number in LENGTHS},
        overrides={3: {"lr": [[0, 3e-3], [100, 1e-4]]}, 5: {"gamma": 0.9}},
    )
    alone = StackPlan(
        name="alone",
        policy=recipe(vf_share_layers=True),
        training=training,
        seeds={4: 14},
        is_stacked=False,
    )
    settings = LearnerGroupSettings()
    return MultiAgentPlan(
        algorithm="ppo", stacks=(many, alone), frozen=frozenset({2}), settings=settings, seed=3
    )


def played(lab: Any, seed: int) -> Fragment:
    """Let every policy act in streams of its own."""
    policy = lab.policy()
    lengths = [length for part in LENGTHS.values() for length in part]
    numbers = np.repeat(list(LENGTHS), [len(part) for part in LENGTHS.values()]).astype(np.int32)
    many = lab.fragment(policy, lengths, seed=seed)
    alone = lab.fragment(policy, (7, 8), seed=seed + 50)
    alone = replace(alone, streams=replace(alone.streams, policy=np.full(2, 4, np.int32)))
    return replace(many, streams=replace(many.streams, policy=numbers), others=(alone,))


def ranks_of(size: int) -> list[MultiAgentLearner]:
    return [plan().make_learner(Rank(rank, size), CPU) for rank in range(size)]  # type: ignore[arg-type]


def update(ranks: list[MultiAgentLearner], fragment: Fragment) -> None:
    for rank, learner in enumerate(ranks):
        learner.update([part_of_rank(fragment, rank, len(ranks))])


def assert_close(ours: Any, theirs: Any, path: str = "") -> None:
    """Compare trees, but for how publications are counted."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), path
        for name in ours.keys() - {"version", "num_updates"}:
            assert_close(ours[name], theirs[name], f"{path}/{name}")
    elif isinstance(ours, np.ndarray) and ours.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5, err_msg=path)
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=path)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_slices_together_are_the_whole(lab: Any, size: int) -> None:
    whole, ranks = plan().make_learner(OneRank(), CPU), ranks_of(size)
    for seed in range(3):
        whole.update([played(lab, seed)])
        update(ranks, played(lab, seed))
    weights, joined = whole.publish(), join_weights([rank.publish() for rank in ranks])
    assert (joined.version, joined.fingerprint) == (weights.version, weights.fingerprint)
    assert [stack.name for stack in joined.stacks] == ["many", "alone"]
    assert joined.stacks[0].policies.tolist() == [0, 1, 2, 3, 5]
    assert_close(dict(joined.tensors), dict(weights.tensors))
    assert_close(join_states([rank.get_state() for rank in ranks]), whole.get_state())


def test_weights_of_ranks_at_their_own_pace_are_at_the_version_of_the_slowest(lab: Any) -> None:
    ranks = ranks_of(2)
    for learner, num_updates in zip(ranks, (3, 1), strict=True):
        for seed in range(num_updates):
            learner.update([part_of_rank(played(lab, seed), ranks.index(learner), 2)])
    joined = join_weights([rank.publish() for rank in ranks])
    assert joined.version == 1
    assert joined.stacks[0].versions.tolist() == [1] * 5
    assert join_states([rank.get_state() for rank in ranks])["version"] == 3


def test_a_group_of_another_size_goes_on_from_what_ranks_left(lab: Any) -> None:
    whole, ranks, others = plan().make_learner(OneRank(), CPU), ranks_of(3), ranks_of(2)
    for learners in ([whole], ranks):
        update(learners, played(lab, 0))
    state = join_states([rank.get_state() for rank in ranks])
    for rank, learner in enumerate(others):
        learner.set_state(state_of_rank(state, rank, 2))
    whole.set_state(state)
    for learners in ([whole], others):
        update(learners, played(lab, 1))
    assert_close(join_states([rank.get_state() for rank in others]), whole.get_state())


def test_each_rank_has_its_own_policies_and_their_rows(lab: Any) -> None:
    numbers = [learner.numbers.tolist() for learner in ranks_of(3)]
    assert numbers == [[0, 3], [1, 4], [2, 5]]
    parts = [part_of_rank(played(lab, 0), rank, 3) for rank in range(3)]
    assert [part.num_rows for part in parts] == [43, 17, 18]
    assert [[other.num_rows for other in part.others] for part in parts] == [[], [15], []]


def test_frozen_policies_are_frozen_on_their_rank(lab: Any) -> None:
    ranks = ranks_of(3)
    assert [learner.frozen for learner in ranks] == [frozenset(), frozenset(), {2}]
    before = ranks[2].policy_state(2)["module"]
    update(ranks, played(lab, 0))
    assert_close(before, ranks[2].policy_state(2)["module"])


def test_a_plan_crosses_as_plain_values() -> None:
    message = plan().to_message()
    there = MultiAgentPlan.from_message(message)
    assert there.to_message() == message
    ours, theirs = (each.make_learner(OneRank(), CPU).publish() for each in (plan(), there))
    assert_close(dict(ours.tensors), dict(theirs.tensors))


def test_a_policy_that_is_alone_has_settings_and_shuffles_of_its_own(lab: Any) -> None:
    alone = plan().stacks[1]
    stacks = (alone, replace(alone, name="other", seeds={6: 14}, overrides={6: {"lr": 0.5}}))
    learner = replace(plan(), stacks=stacks, frozen=frozenset()).make_learner(OneRank(), CPU)
    generators = [learner.policy_state(number)["generator"] for number in (4, 6)]
    assert not np.array_equal(*generators)
    parts = [played(lab, seed).others[0] for seed in range(2)]
    parts[1] = replace(parts[1], streams=replace(parts[1].streams, policy=np.full(2, 6, np.int32)))
    learner.update(parts)
    assert learner.policy_metrics()["learning_rate"].tolist() == [1e-3, 0.5]


def test_a_stack_that_is_not_computed_together_has_one_policy() -> None:
    with pytest.raises(ValueError, match="stack 'alone' has 2 policies that are not computed together; give"):
        replace(plan().stacks[1], seeds={4: 1, 6: 1})
