"""Policies dealt to ranks on Ray learn what they learn in one process, come and go there, and survive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.exceptions import ObjectLostError

from compared_runs import assert_close
from outrider.learner import (
    IMPALASettings,
    LearnerGroupSettings,
    LocalLearnerGroup,
    OneRank,
    PPOSettings,
    UpdateReport,
)
from outrider.learner.groups.group_policies import GroupPolicies
from outrider.learner.groups.learned_policies import LearnedPolicies, PoliciesHere
from outrider.learner.groups.rank_error import LostRankError
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.ray_groups.ray_async_learners import RayAsyncLearnerGroup
from outrider.learner.ray_groups.ray_ranks import RayRanks
from outrider.learner.slices.async_slice_learners import AsyncSliceLearnerGroup
from outrider.learner.slices.slice_learners import SliceLearnerGroup
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import LocalFragment
from outrider.wire import (
    BoxSpace,
    DiscreteSpace,
    EpisodeStatistics,
    Fragment,
    Streams,
    Weights,
    stack_tensors,
)

pytestmark = pytest.mark.usefixtures("local_ray")
CPU = torch.device("cpu")
DEADLINE_S = 120.0
SETTINGS = LearnerGroupSettings(
    num_learners=2, num_cpus_per_learner=0, learner_timeout_s=60.0, num_updates_between_snapshots=2
)
FOUR = (0, 1, 2, 3)


PPO: Any = PPOSettings(minibatch_size=8, num_epochs=2, lr=1e-3)
IMPALA: Any = IMPALASettings(lr=1e-3)


def stack(
    name: str, numbers: Sequence[int], *, size: int = 3, is_stacked: bool = True, training: Any = PPO
) -> StackPlan:
    recipe = PolicyRecipe(
        observation_space=BoxSpace(low=np.full(size, -9, np.float32), high=np.full(size, 9, np.float32)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(8,), normalize_observations=True, normalize_rewards=True),
        seed=0,
    )
    return StackPlan(
        name=name,
        policy=recipe,
        training=training,
        seeds={number: 10 + number for number in numbers},
        is_stacked=is_stacked,
    )


PLAN = MultiAgentPlan(
    algorithm="ppo",
    stacks=(stack("many", FOUR), stack("sole", (5,), size=2, is_stacked=False)),
    frozen=frozenset({3}),
    settings=SETTINGS,
    seed=3,
)


def part(seed: int, numbers: Sequence[int], size: int) -> Fragment:
    """Let policies act in a stream each, of which none is as long as another."""
    rng = np.random.default_rng(seed)
    lengths = np.array([5 + 3 * place for place in range(len(numbers))])
    num_rows, last = int(lengths.sum()), np.cumsum(lengths) - 1
    copies, zeros = np.arange(len(numbers), dtype=np.int32), np.zeros(len(numbers), np.int32)
    return Fragment(
        streams=Streams(lengths=lengths, policy=np.array(numbers, np.int32), environment=copies, agent=zeros),
        observations={"": rng.normal(size=(num_rows, size)).astype(np.float32)},
        actions={"": rng.integers(0, 2, num_rows)},
        rewards=rng.normal(size=num_rows).astype(np.float32),
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        next_rows=last,
        next_observations={"": rng.normal(size=(len(last), size)).astype(np.float32)},
        action_log_probs=np.full(num_rows, -0.6931472, np.float32),
        policy_version=np.array([0]),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


def learn(group: Any, seeds: Sequence[int], numbers: Sequence[int] = FOUR, sole: int = 5) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for seed in seeds:
        played = replace(part(seed, numbers, 3), others=(part(seed + 100, [sole], 2),))
        metrics = group.update([LocalFragment(played)])
    return metrics


def here() -> tuple[LocalLearnerGroup, LearnedPolicies]:
    """Make the learner of all policies in this process."""
    learner = PLAN.make_learner(OneRank(), CPU)
    group = LocalLearnerGroup(learner)
    return group, PoliciesHere(learner, group, algorithm="ppo", seed=PLAN.seed, device=CPU)


def ranks(num_ranks: int) -> SliceLearnerGroup:
    return SliceLearnerGroup(made(PLAN, num_ranks), PLAN)


def made(plan: MultiAgentPlan, num_ranks: int) -> RayRanks:
    return RayRanks(plan, num_ranks=num_ranks, options=no_cpu, run="")


def changing(group: Any, plan: MultiAgentPlan) -> GroupPolicies:
    return GroupPolicies(group, plan, StackPlan.to_message)


def no_cpu(rank: int) -> dict[str, Any]:
    return {"num_cpus": 0}


def assert_equal_groups(ours: Any, theirs: Any) -> None:
    """Compare weights and everything that learners go on from."""
    weights, expected = ours.publish().load(), theirs.publish().load()
    assert (weights.version, weights.fingerprint) == (expected.version, expected.fingerprint)
    assert_close(dict(weights.tensors), dict(expected.tensors))
    assert_close(ours.get_state(), theirs.get_state())


def test_two_ranks_learn_what_one_does_and_one_process_and_each_goes_on_from_what_two_left() -> None:
    local, policies = here()
    with closing(ranks(2)) as pair, closing(ranks(1)) as alone:
        metrics, expected = learn(pair, range(4)), learn(local, range(4))
        assert without_seconds(metrics) == pytest.approx(without_seconds(expected), abs=1e-5)
        assert_close(changing(pair, PLAN).policy_metrics(), policies.policy_metrics())
        assert_equal_groups(pair, local)
        state = pair.get_state()
        for group in (alone, local):
            group.set_state(state)
        for group in (alone, local, pair):
            learn(group, range(4, 6))
        assert_equal_groups(alone, local)
        assert_equal_groups(pair, local)


def test_policies_come_and_go_as_in_one_process_and_a_killed_rank_takes_back_only_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    local, policies_here = here()
    with closing(ranks(2)) as pair:
        policies = changing(pair, PLAN)
        for group, changed in ((local, policies_here), (pair, policies)):
            learn(group, [0])
            change(changed)
            learn(group, (1, 2), (0, 2, 3, 6), 7)
        assert_equal_groups(pair, local)
        before = pair.publish().load()
        ray.kill(pair._ranks._actors[1])
        caplog.clear()
        for group in (pair, local):
            learn(group, [3], (0, 2, 3, 6), 7)
        statistics = pair.statistics()
        assert (statistics.num_restarts, statistics.num_lost_rows) == (1, 0)
        assert statistics.num_lost_updates == 2
        assert "go back by 2 updates of 3 policies, and of no other, to their newest" in caplog.text
        assert policies.frozen == {0, 1}
        weights, expected = pair.publish().load(), local.publish().load()
        assert sorted(number for each in weights.stacks for number in each.policies) == [*FOUR, 6, 7]
        assert_close(of_policies(weights, {0, 2, 6}), of_policies(expected, {0, 2, 6}))
        assert versions_of(weights, {1, 3, 7}).min() > before.version
        for seed in (4, 5):
            learn(pair, [seed], (0, 2, 3, 6), 7)
        assert pair.publish().version == weights.version + 2


def test_weights_that_went_with_their_node_are_asked_for_again_and_who_is_gone_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @ray.remote(num_cpus=0)
    def gone() -> None:
        raise ObjectLostError("ab" * 28, None, "")

    group = made(PLAN, 2)
    with closing(SliceLearnerGroup(group, PLAN)) as pair:
        weights, version = group._published()
        joined = group.joined_weights([weights[0], gone.remote()], version).load()
        assert_close(dict(joined.tensors), dict(pair.publish().load().tensors))
        with monkeypatch.context() as patched:
            patched.setattr(group, "_published", lambda: ([weights[0], gone.remote()], version))
            with pytest.raises(LostRankError, match=r"is gone with the node that held it again$"):
                group.joined_weights([weights[0], gone.remote()], version)
        ray.kill(group._actors[1])
        with pytest.raises(LostRankError) as caught:
            group.joined_weights([weights[0], gone.remote()], version)
        assert caught.value.rank == 1


def of_policies(weights: Weights, numbers: set[int]) -> dict[str, Any]:
    return {
        f"{stack.name}/{number}/{name}": tensor[place]
        for stack in weights.stacks
        for place, number in enumerate(stack.policies.tolist())
        if number in numbers
        for name, tensor in stack_tensors(weights, stack).items()
    }


def versions_of(weights: Weights, numbers: set[int]) -> Any:
    return np.concatenate([s.versions[np.isin(s.policies, list(numbers))] for s in weights.stacks])


def change(policies: LearnedPolicies, training: Any = PPO) -> None:
    policies.add(stack("many", (6,), training=training), like=1)  # which the other rank has
    policies.add(stack("own", (7,), size=2, is_stacked=False, training=training), like=5)
    policies.remove(5)
    policies.freeze([0, 1])
    policies.thaw([3])
    assert policies.frozen == {0, 1}


def without_seconds(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.endswith("_s")}


def without_pause(plan: MultiAgentPlan) -> MultiAgentPlan:
    stacks = tuple(replace(each, training=IMPALA) for each in plan.stacks)
    return replace(plan, algorithm="impala", stacks=stacks)


class Feeding:
    """A group that trains by itself, and one learner here that is given the same."""

    def __init__(self, plan: MultiAgentPlan) -> None:
        taken_in = {
            "train_batch_size": 10,
            "max_staleness": 1000,
            "queue_capacity": 3,
            "num_steps_per_fragment": 10,
        }
        self.group: Any
        if plan.shares_rows:
            self.group = RayAsyncLearnerGroup(plan, num_learners=2, options=no_cpu, **taken_in)
        else:
            self.group = AsyncSliceLearnerGroup(made(plan, 2), plan, **taken_in)
        self.policies = changing(self.group, plan)
        self.learner = replace(plan, shares_rows=False).make_learner(OneRank(), CPU)
        self.here = LocalLearnerGroup(self.learner)
        self.policies_here = PoliciesHere(
            self.learner, self.here, algorithm="impala", seed=plan.seed, device=CPU
        )
        self.num_put = 0
        self.reports: list[UpdateReport] = []

    def put(self, numbers: Sequence[int] = FOUR, sole: int = 5) -> None:
        """Give both one more update with two streams of each policy, once there is room for it."""
        deadline = time.monotonic() + DEADLINE_S
        while not self.group.room:
            assert time.monotonic() < deadline
            self.reports += self.group.reports(0.05)
        self.num_put += 1
        many = part(self.num_put, sorted([*numbers, *numbers]), 3)
        played = replace(many, others=(part(self.num_put + 100, [sole, sole], 2),))
        self.group.put([LocalFragment(played)])
        self.learner.update([played])

    def state(self) -> dict[str, Any]:
        """Return that after all that was put."""
        state = self.group.get_state()
        self.reports += self.group.reports(0)
        return state


def test_ranks_train_policies_of_their_own_without_pause_and_a_killed_one_takes_back_only_those() -> None:
    feeding = Feeding(without_pause(PLAN))
    with closing(feeding.group):
        for _ in range(5):
            feeding.put()
        feeding.group.learn_what_was_put()
        assert feeding.group.publish().version == feeding.learner.get_state()["version"]
        assert_close(feeding.state(), feeding.learner.get_state())
        assert sum(report.num_updates for report in feeding.reports) == 5
        assert sum(report.num_fragments for report in feeding.reports) == 5
        for changed in (feeding.policies, feeding.policies_here):
            change(changed, IMPALA)
        assert_equal_groups(feeding.group, feeding.here)
        before = feeding.group.publish().load()
        ray.kill(feeding.group._ranks._actors[1])
        for _ in range(4):
            feeding.put((0, 2, 3, 6), 7)
        state = feeding.state()
        assert sum(report.num_updates for report in feeding.reports) == 9
        assert [sum(r.num_restarts for r in feeding.reports), feeding.group.statistics().num_restarts] == [
            1,
            1,
        ]
        assert feeding.policies.frozen == {0, 1}
        assert state["version"] == feeding.learner.get_state()["version"] + 1
        weights, expected = feeding.group.publish().load(), feeding.here.publish().load()
        assert_close(of_policies(weights, {0, 2, 6}), of_policies(expected, {0, 2, 6}))
        assert versions_of(weights, {1, 3, 7}).min() > before.version
        feeding.policies.thaw([0])
        feeding.group.set_state(state)
        assert feeding.policies.frozen == {0, 1}


def test_ranks_share_the_rows_of_policies_without_pause() -> None:
    plan = replace(without_pause(PLAN), shares_rows=True)
    feeding = Feeding(plan)
    with closing(feeding.group):
        for _ in range(3):
            feeding.put()
        for changed in (feeding.policies, feeding.policies_here):
            change(changed, IMPALA)
        feeding.put((0, 2, 3, 6), 7)
        feeding.state()
        weights, expected = feeding.group.publish().load(), feeding.here.publish().load()
        assert_close(dict(weights.tensors), dict(expected.tensors))
        assert feeding.policies.frozen == {0, 1}
