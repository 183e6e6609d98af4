"""A policy whose gradient steps are skipped without end is told of, and costs the others nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import LocalLearnerGroup, MultiAgentLearner, OneRank
from outrider.learner.groups.async_group import LocalAsyncLearnerGroup
from outrider.learner.groups.group_policies import GroupPolicies
from outrider.learner.groups.learned_policies import PoliciesHere
from outrider.learner.groups.rank_policies import RankPolicies
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.policy_slices import part_of_rank
from outrider.learner.ranks import ApartRank, Ranks
from outrider.transport import LocalFragment
from outrider.wire import Fragment, take_policies

CPU = torch.device("cpu")
REASON = "2 gradient steps in a row were skipped; "


def strict(several: Any, algorithm: str = "ppo", **changes: Any) -> MultiAgentPlan:
    """Policies 0 and 2 in a stack and 1 by itself, which may skip one step and not two in a row."""
    plan: MultiAgentPlan = several.plan(algorithm)
    settings: dict[str, Any] = {"max_consecutive_skipped_steps": 1, "num_epochs": 2}
    stacks = tuple(replace(each, training=replace(each.training, **settings)) for each in plan.stacks)
    return replace(plan, stacks=stacks, **changes)


def played(several: Any, seed: int, numbers: Sequence[int] = (0, 2)) -> Fragment:
    (fragment,) = several.put_in(seed, numbers)
    loaded: Fragment = fragment.load()
    return loaded


def spoiled(fragment: Fragment, number: int) -> Fragment:
    """Let the last reward of a policy be nan."""
    parts = [replace(part, rewards=part.rewards.copy(), others=()) for part in _parts(fragment)]
    for part in parts:
        of_row = np.repeat(part.streams.policy, part.streams.lengths)
        part.rewards[np.flatnonzero(of_row == number)[-1:]] = np.nan
    return replace(parts[0], others=tuple(parts[1:]))


def without(fragment: Fragment, number: int) -> Fragment:
    parts = [
        take_policies(replace(part, others=()), [0, 1, 2][:number] + [0, 1, 2][number + 1 :])
        for part in _parts(fragment)
    ]
    return replace(parts[0], others=tuple(part for part in parts[1:] if part.num_rows))


def _parts(fragment: Fragment) -> Sequence[Fragment]:
    return (fragment, *fragment.others)


def learned(tensors: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is counted of rows, and not learned."""
    return {name: tensor for name, tensor in tensors.items() if "network" in name}


def assert_same(left: Any, right: Any, path: str = "") -> None:
    """Compare trees; sums in stacks of other sizes are not the same to the bit."""
    if isinstance(right, dict):
        assert left.keys() == right.keys()
        for name, value in right.items():
            assert_same(left[name], value, f"{path}/{name}")
    elif isinstance(right, np.ndarray) and right.dtype.kind == "f":
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-6, err_msg=path)
    else:
        np.testing.assert_array_equal(left, right, err_msg=path)


def learn_with_and_without(
    several: Any, plan: MultiAgentPlan, number: int, ranks: Ranks, numbers: Sequence[int] = (0, 2)
) -> tuple[MultiAgentLearner, MultiAgentLearner]:
    """Let a policy diverge and be frozen in one learner, and have no rows in the other meanwhile."""
    bad, good = (plan.make_learner(ranks, CPU) for _ in range(2))
    for learner in (bad, good):
        learner.update([played(several, 0, numbers)])
    before = bad.policy_state(number)["module"]
    metrics = bad.update([spoiled(played(several, 1, numbers), number)])
    assert metrics["diverged_policies"] == 1.0
    assert bad.diverged.keys() == {number}
    assert bad.diverged[number].startswith(REASON)
    good.update([without(played(several, 1, numbers), number)])
    bad.freeze([number])
    assert not bad.diverged
    good.freeze([number])
    for learner, fragment in (
        (bad, spoiled(played(several, 2, numbers), number)),
        (good, played(several, 2, numbers)),
    ):
        assert "diverged_policies" not in learner.update([fragment])
    assert_same(learned(bad.policy_state(number)["module"]), learned(before))
    return bad, good


@pytest.mark.parametrize("algorithm", ["ppo", "impala", "appo"])
@pytest.mark.parametrize("number", [0, 1])
def test_others_learn_what_they_learn_where_it_was_not_there(
    several: Any, algorithm: str, number: int
) -> None:
    bad, good = learn_with_and_without(several, strict(several, algorithm), number, OneRank())
    for other in {0, 1, 2} - {number}:
        assert_same(bad.policy_state(other), good.policy_state(other))


@pytest.mark.parametrize("algorithm", ["ppo", "impala", "appo"])
@pytest.mark.parametrize(("number", "numbers"), [(0, (0, 2)), (1, (0, 2)), (0, (0, 0))])
def test_ranks_that_share_rows_find_it_at_the_same_step(
    several: Any, on_ranks: Any, algorithm: str, number: int, numbers: tuple[int, int]
) -> None:
    plan = strict(several, algorithm, shares_rows=True)

    def learn(ranks: Any) -> Any:
        return learn_with_and_without(several, plan, number, ranks, numbers)

    for bad, good in on_ranks(2, learn):
        for other in {0, 1, 2} - {number}:
            assert_same(bad.policy_state(other), good.policy_state(other))


@pytest.mark.parametrize("algorithm", ["ppo", "impala", "appo"])
def test_one_that_trains_alone_in_its_stack_is_told_of_as_well(several: Any, algorithm: str) -> None:
    learner = strict(several, algorithm, frozen=frozenset({1, 2})).make_learner(OneRank(), CPU)
    learner.update([played(several, 0)])
    before = learner.publish().tensors
    assert learner.update([spoiled(played(several, 1), 0)]) == {"diverged_policies": 1.0}
    assert learner.diverged[0].startswith(REASON)
    assert_same(learned(learner.publish().tensors), learned(before))
    assert learner.get_state()["stacks"]["many"]["learner"]["counters"]["num_skipped_in_a_row"][0] == 2


def test_it_is_counted_until_it_is_frozen_or_removed(several: Any) -> None:
    learner = strict(several).make_learner(OneRank(), CPU)
    assert learner.update([spoiled(spoiled(played(several, 1), 0), 1)])["diverged_policies"] == 2.0
    assert learner.update([played(several, 2)])["diverged_policies"] == 2.0
    learner.freeze([1])
    assert learner.diverged.keys() == {0}
    learner.remove(0)
    assert not learner.diverged


def test_one_that_is_thawed_learns_again(several: Any) -> None:
    learner = strict(several).make_learner(OneRank(), CPU)
    learner.update([spoiled(played(several, 1), 0)])
    learner.freeze([0])
    resumed = strict(several).make_learner(OneRank(), CPU)
    resumed.set_state(learner.get_state())
    assert resumed.frozen == {0}
    resumed.thaw([0])
    assert "diverged_policies" not in resumed.update([played(several, 2)])
    assert resumed.policy_state(0)["counters"]["num_skipped_in_a_row"] == 0


def test_a_learner_that_goes_back_forgets_it(several: Any) -> None:
    learner = strict(several).make_learner(OneRank(), CPU)
    state = learner.get_state()
    learner.update([spoiled(played(several, 1), 0)])
    learner.set_state(state)
    assert not learner.diverged


class Dealt:
    """Two learners that have the even and the odd numbers; obeys `ChangingRanks`."""

    num_ranks = 2

    def __init__(self, plan: MultiAgentPlan) -> None:
        self.learners = [plan.make_learner(ApartRank(rank, 2), CPU) for rank in range(2)]
        self._calls = [RankPolicies(learner, plan, device=CPU).calls for learner in self.learners]

    def ask(self, rank: int, name: str, *arguments: Any) -> dict[str, Any]:
        return self._calls[rank][name](*arguments)

    def change(self, calls: Any, plan: MultiAgentPlan) -> None:
        for at_once in calls:
            for call in at_once:
                self.ask(*call)


def dealt(plan: MultiAgentPlan) -> tuple[Dealt, GroupPolicies]:
    ranks = Dealt(plan)
    return ranks, GroupPolicies(ranks, plan, lambda stack: stack.to_message())


def test_ranks_and_learners_here_tell_the_same_of_it(several: Any) -> None:
    plan = strict(several)
    ranks, there = dealt(plan)
    learner = plan.make_learner(OneRank(), CPU)
    here = PoliciesHere(learner, LocalLearnerGroup(learner), algorithm="ppo", seed=5, device=CPU)
    bad = spoiled(spoiled(played(several, 1), 2), 1)
    learner.update([bad])
    metrics = [
        each.update([part_of_rank(bad, rank, ranks.num_ranks)]) for rank, each in enumerate(ranks.learners)
    ]
    assert plan.sharing.join_metrics(metrics)["diverged_policies"] == 2.0
    assert there.diverged == here.diverged
    assert there.diverged.keys() == {1, 2}
    there.freeze([1, 2])
    assert not there.diverged
    assert there.frozen == {1, 2}


@pytest.mark.parametrize("name", ["freeze", "thaw"])
def test_of_a_call_that_is_refused_nobody_is_frozen_or_thawed(several: Any, name: str) -> None:
    _, policies = dealt(strict(several, frozen=frozenset({1}) if name == "thaw" else frozenset()))
    before = policies.frozen
    with pytest.raises(ValueError, match=r"there is no policy 4; there are 0, 1, 2"):
        getattr(policies, name)([1, 4])
    assert policies.frozen == before


def test_a_service_tells_of_it_and_has_it_rest_for_good(network: Any, several: Any) -> None:
    group = network.group(strict(several))
    group.update([LocalFragment(spoiled(played(several, 1), 2))])
    assert group.policies.diverged.keys() == {2}
    assert group.policies.diverged[2].startswith(REASON)
    group.policies.freeze([2])
    network.pairs[-1].cut()
    assert "diverged_policies" not in group.update(several.put_in(2))
    assert (group.policies.frozen, group.policies.diverged) == ({2}, {})


@pytest.mark.parametrize("algorithm", ["impala", "appo"])
def test_learners_that_train_by_themselves_tell_of_it(several: Any, algorithm: str) -> None:
    plan = strict(several, algorithm)
    learner = plan.make_learner(OneRank(), CPU)
    group = LocalAsyncLearnerGroup(
        learner, train_batch_size=40, max_staleness=20, queue_capacity=2, num_steps_per_fragment=40
    )
    policies = PoliciesHere(learner, group, algorithm=algorithm, seed=5, device=CPU)
    for seed in range(2):
        group.put([LocalFragment(spoiled(played(several, seed), 1))])
    told = [report.metrics for report in group.reports(20.0)]
    assert told[-1]["diverged_policies"] == 1.0
    assert policies.diverged.keys() == {1}
    policies.freeze([1])
    assert not policies.diverged
    group.close()
