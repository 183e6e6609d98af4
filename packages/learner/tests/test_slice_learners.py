"""Groups of ranks with policies of their own, whichever rank dies and whenever; ranks here are counters.

A policy "learns" by adding up the numbers of the fragments that its rank is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from outrider.learner import LearnerGroupSettings
from outrider.learner.groups.async_slice_learners import AsyncSliceLearnerGroup
from outrider.learner.groups.group import LearnerGroupStatistics
from outrider.learner.groups.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.groups.policy_slices import join_states
from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.groups.sharing import SHARED_POLICIES
from outrider.learner.groups.slice_learners import SliceLearnerGroup
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import DiscreteSpace, EpisodeStatistics, FragmentSummary, SamplingStatistics

SUMMARY = FragmentSummary(
    num_rows=10,
    num_streams=2,
    policy_version=0,
    episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    statistics=SamplingStatistics(),
)


@dataclass(frozen=True, eq=False)
class Numbered:
    """A fragment that is nothing but its number."""

    ref: int

    @property
    def summary(self) -> FragmentSummary:
        return SUMMARY

    def load(self) -> Any:
        raise AssertionError("groups read no fragment")


@dataclass(frozen=True)
class Published:
    version: int
    sums: Mapping[int, tuple[int, float]]
    """Version and sum of each policy."""


@dataclass
class Rank:
    sums: dict[int, float]
    version: int = 0
    num_updates: int = 0
    frozen: set[int] = field(default_factory=set)
    changed: dict[int, int] = field(default_factory=dict)
    queue: deque[Sequence[int]] = field(default_factory=deque)
    num_begun: int = 0
    is_alive: bool = True

    def learn(self, numbers: Sequence[int]) -> None:
        self.version += 1
        self.num_updates += 1
        for policy in self.sums:
            if policy not in self.frozen:
                self.sums[policy] += sum(numbers)
                self.changed[policy] = self.version

    def publish(self) -> Published:
        for policy in self.sums:
            self.changed.setdefault(policy, self.version)
        return Published(self.version, {p: (self.changed[p], total) for p, total in self.sums.items()})

    def get_state(self) -> dict[str, Any]:
        numbers = np.array(sorted(self.sums))
        learner = {"sum": np.array([self.sums[number] for number in sorted(self.sums)])}
        stacks = {"s": {"numbers": numbers, "learner": learner}} if len(numbers) else {}
        own = {"frozen": sorted(self.frozen), "removed": [], "num_updates": self.num_updates}
        return {"version": self.version, "stacks": stacks, **own}

    def call(self, name: str, *args: Any) -> dict[str, Any]:
        match name, args:
            case "update", (_, *numbers):
                self.learn(numbers)
                return {"metrics": {"num_env_steps_trained": 1.0}, "version": self.version}
            case "put", (_, _, *numbers):
                self.queue.append(numbers)
            case "get_state" | "state_after_all", _:
                while self.queue:
                    self.learn(self.queue.popleft())
                return {"state": self.get_state(), "digests": {}}
            case "set_state", (_, state):
                found = state["stacks"].get("s", {"numbers": [], "learner": {"sum": []}})
                if found["numbers"].tolist() != sorted(self.sums):
                    raise ValueError("the state is of other policies")
                self.sums = dict(
                    zip(found["numbers"].tolist(), found["learner"]["sum"].tolist(), strict=True)
                )
                self.version, self.num_updates = state["version"], state["num_updates"]
                self.frozen, self.changed = set(state["frozen"]), {}
            case "add_policy", (number,):
                self.sums[number] = 0.0
                self.version += 1
            case "freeze", (numbers,):
                self.frozen |= set(numbers)
            case "count_change", _:
                self.version += 1
        return {"version": self.version}


class Ranks:
    """Two of them, which die when they are told to."""

    sharing = SHARED_POLICIES
    num_ranks = 2

    def __init__(self) -> None:
        self.plan: Any = PLAN
        self.ranks = [self._first(0), self._first(1)]
        self.made: list[int] = []
        self.deaths: dict[tuple[int, str], int] = {}
        """After so many calls of this name a rank dies, before it answers."""
        self.lost: set[int] = set()
        """Fragments that went with their node."""
        self.slow: set[int] = set()
        """Those that do nothing for now."""
        self._answers: dict[object, Any] = {}
        self._reports: dict[object, int] = {}

    def call(self, rank: int, name: str, *args: Any) -> object:
        return self.call_with_weights(rank, name, *args)[0]

    def call_with_weights(self, rank: int, name: str, *args: Any) -> tuple[object, Any]:
        ref, one = object(), self.ranks[rank]
        if (left := self.deaths.get((rank, name))) is not None:
            self.deaths[rank, name] = left - 1
            if not left:
                del self.deaths[rank, name]
                one.is_alive = False
        if not one.is_alive:
            self._answers[ref] = LostRankError(f"learner {rank} is gone", rank=rank)
        elif self.lost.intersection({"update": args[1:], "put": args[2:]}.get(name, ())):
            self._answers[ref] = LostObjectError(f"learner {rank} lacks a fragment", rank=rank)
        else:
            self._answers[ref] = one.call(name, *args)
        return ref, one.publish()

    def report(self, rank: int, timeout_s: float) -> tuple[object, Any]:
        ref, weights = object(), Weights()
        self._reports[ref] = rank
        self._answers[ref] = weights
        return ref, weights

    def first(self, refs: Sequence[object], timeout_s: float) -> object | None:
        for ref in refs:
            if ref not in self._reports:
                return ref
            one = self.ranks[self._reports[ref]]
            if not one.is_alive or (one.queue and self._reports[ref] not in self.slow):
                return ref
        return None

    def read(self, ref: object, rank: int) -> Any:
        answer = self._answers.pop(ref)
        if self._reports.pop(ref, None) is not None:
            answer = self._learned(rank, answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, rank: int, ref: object) -> Any:
        return self.read(ref, rank)

    def answers(self, refs: Sequence[object]) -> list[Any]:
        return [self.read(ref, 0) for ref in refs]

    def settled(self, refs: Mapping[int, object]) -> tuple[dict[int, Any], list[Any]]:
        found = {rank: self._answers.pop(ref) for rank, ref in refs.items()}
        lost = [answer for answer in found.values() if isinstance(answer, Exception)]
        return {rank: x for rank, x in found.items() if not isinstance(x, Exception)}, lost

    def get_state(self, method: str, *args: Any) -> dict[str, Any]:
        answers = self.answers([self.call(rank, method, None, *args) for rank in range(2)])
        return join_states([answer["state"] for answer in answers])

    def publish(self) -> Any:
        calls = [self.call_with_weights(rank, "publish") for rank in range(2)]
        self.answers([ref for ref, _ in calls])
        return self.joined_weights([weights for _, weights in calls], 0)

    def joined_weights(self, weights: Sequence[Any], version: int) -> Any:
        parts = [part.published if isinstance(part, Weights) else part for part in weights]
        oldest = min(part.version for part in parts)
        sums = {p: (min(v, oldest), total) for part in parts for p, (v, total) in part.sums.items()}
        return Published(oldest, sums)

    def held(self, fragments: Sequence[Any]) -> list[Any]:
        return list(fragments)

    def still_there(self, fragments: Sequence[Any], *, rank: int = 0) -> list[Any]:
        self.answer(rank, self.call(rank, "fetch"))
        return [fragment for fragment in fragments if fragment.ref not in self.lost]

    def make_anew(self, rank: int) -> None:
        self.made.append(rank)
        self.ranks[rank] = self._first(rank)

    def kill(self) -> None:
        pass

    def _first(self, rank: int) -> Rank:
        numbers = [number for stack in self.plan.stacks for number in stack.seeds]
        return Rank({number: 0.0 for number in numbers if number % 2 == rank})

    def _learned(self, rank: int, weights: Weights) -> Any:
        one = self.ranks[rank]
        if not one.is_alive:
            return LostRankError(f"learner {rank} is gone", rank=rank)
        one.num_begun += 1
        one.learn(one.queue.popleft())
        weights.published = one.publish()
        answer = {"num_updates": 1, "num_begun": one.num_begun, "version": one.version, "snapshot": None}
        times = {"work_s": 1.0, "wait_s": 0.0, "queue_depth": 0.0}
        return answer | times | {"metrics": {"num_env_steps_trained": 1.0}}


@dataclass
class Weights:
    """Come with a report."""

    published: Published | None = None


def plan_of(num_policies: int) -> MultiAgentPlan:
    space = DiscreteSpace(num_values=2)
    recipe = PolicyRecipe(observation_space=space, action_space=space, settings=ModuleSettings(), seed=0)
    seeds = dict.fromkeys(range(num_policies), 0)
    return MultiAgentPlan(
        algorithm="ppo",
        stacks=(StackPlan(name="s", policy=recipe, training=None, seeds=seeds),),
        settings=LearnerGroupSettings(num_updates_between_snapshots=100),
        seed=0,
    )


PLAN, WITH_ANOTHER = plan_of(4), plan_of(5)


def group() -> tuple[SliceLearnerGroup, Ranks]:
    ranks = Ranks()
    return SliceLearnerGroup(ranks, PLAN), ranks


def learn(learners: SliceLearnerGroup, *numbers: int) -> None:
    for number in numbers:
        learners.update([Numbered(number)])


def sums(learners: Any) -> dict[int, float]:
    return {policy: total for policy, (_, total) in sorted(learners.publish().sums.items())}


def in_step(ranks: Ranks) -> bool:
    return ranks.ranks[0].version == ranks.ranks[1].version


def test_a_rank_that_dies_in_an_update_takes_back_its_own_policies_and_makes_the_update_again() -> None:
    learners, ranks = group()
    learn(learners, 1, 2)
    before = learners.publish()
    ranks.deaths[1, "update"] = 0
    learn(learners, 4)
    assert sums(learners) == {0: 7.0, 1: 4.0, 2: 7.0, 3: 4.0}
    assert all(learners.publish().sums[policy][0] > before.version for policy in (1, 3))
    assert (learners.statistics().num_restarts, learners.statistics().num_lost_updates) == (1, 2)
    learn(learners, 8)
    assert sums(learners) == {0: 15.0, 1: 12.0, 2: 15.0, 3: 12.0}
    assert in_step(ranks)


@pytest.mark.parametrize("moment", ["set_state", "fetch"])
def test_a_rank_that_dies_again_before_it_has_learned_is_made_anew_again(moment: str) -> None:
    learners, ranks = group()
    learn(learners, 1, 2)
    ranks.deaths = {(1, "update"): 0, (1, moment): 0}
    learn(learners, 4)
    assert sums(learners) == {0: 7.0, 1: 4.0, 2: 7.0, 3: 4.0}
    assert ranks.made == [1, 1]
    assert in_step(ranks)


@pytest.mark.parametrize("moment", ["update", "count_change"])
def test_both_ranks_may_die_in_one_update(moment: str) -> None:
    learners, ranks = group()
    learn(learners, 1, 2)
    before = learners.publish().version
    ranks.deaths = {(1, "update"): 0, (0, moment): 0}
    learn(learners, 4)
    assert sums(learners) == {0: 4.0, 1: 4.0, 2: 4.0, 3: 4.0}
    assert sorted(ranks.made) == [0, 1]
    assert min(version for version, _ in learners.publish().sums.values()) > before
    assert in_step(ranks)


@pytest.mark.parametrize("dying", [(0, "add_policy"), (1, "count_change"), (0, "get_state")])
def test_a_policy_that_is_added_is_there_whoever_dies_meanwhile(dying: tuple[int, str]) -> None:
    learners, ranks = group()
    learn(learners, 1)
    ranks.deaths[dying] = 0
    learners.change([[(0, "add_policy", 4)], [(1, "count_change")]], WITH_ANOTHER)
    learn(learners, 2)
    assert sums(learners)[4] == 2.0
    assert sums(learners)[3 - dying[0]] == 3.0  # of the other rank
    assert in_step(ranks)
    ranks.deaths[0, "update"] = 0
    learn(learners, 4)
    assert sums(learners)[4] == 4.0  # gone back to when it was added


@pytest.mark.parametrize("kind", ["waited for", "by themselves"])
def test_a_rank_that_dies_right_after_a_state_was_set_goes_back_to_that_state(kind: str) -> None:
    before, _ = group()
    learn(before, 1, 2)
    state = before.get_state()
    ranks = Ranks()
    learners = SliceLearnerGroup(ranks, PLAN) if kind == "waited for" else Busy(ranks).group
    ranks.deaths = {(1, "get_state"): 0, (1, "state_after_all"): 0}
    learners.set_state(state)
    assert ranks.made == [1]
    assert sums(learners) == dict.fromkeys(range(4), 3.0)
    assert in_step(ranks)


@pytest.mark.parametrize("kind", ["waited for", "by themselves"])
def test_a_rank_that_dies_while_a_state_is_set_goes_on_from_that_state(kind: str) -> None:
    before, _ = group()
    learn(before, 1, 2)
    ranks = Ranks()
    learners = SliceLearnerGroup(ranks, PLAN) if kind == "waited for" else Busy(ranks).group
    ranks.deaths[0, "set_state"] = 0
    learners.set_state(before.get_state())
    assert ranks.made == [0]
    assert sums(learners) == dict.fromkeys(range(4), 3.0)
    assert learners.statistics().num_lost_updates == 0
    assert in_step(ranks)


@pytest.mark.parametrize("kind", ["waited for", "by themselves"])
def test_a_state_of_other_policies_is_refused_and_nothing_is_gone_back_to(kind: str) -> None:
    ranks = Ranks()
    learners: Any = SliceLearnerGroup(ranks, PLAN) if kind == "waited for" else Busy(ranks).group
    state = learners.get_state()
    state["stacks"]["s"]["numbers"] = np.arange(1, 5)
    with pytest.raises(ValueError, match="other policies"):
        learners.set_state(state)
    assert learners._recovery.version == 0


def test_a_fragment_that_went_with_its_node_is_left_out_and_counted_once_and_every_rank_lives() -> None:
    learners, ranks = group()
    ranks.lost = {2}
    learners.update([Numbered(1), Numbered(2)])
    assert sums(learners) == dict.fromkeys(range(4), 1.0)
    assert learners.statistics() == LearnerGroupStatistics(num_lost_rows=10)
    assert ranks.made == []
    assert in_step(ranks)


def test_a_rank_that_dies_where_a_fragment_went_with_its_node_learns_from_the_others() -> None:
    learners, ranks = group()
    ranks.lost, ranks.deaths[1, "update"] = {2}, 1
    learners.update([Numbered(1), Numbered(2)])
    assert sums(learners) == dict.fromkeys(range(4), 1.0)
    assert (learners.statistics().num_lost_rows, ranks.made) == (10, [1])
    assert in_step(ranks)


def test_a_snapshot_is_what_a_rank_goes_back_to() -> None:
    ranks = Ranks()
    plan = replace(PLAN, settings=LearnerGroupSettings(num_updates_between_snapshots=2))
    learners = SliceLearnerGroup(ranks, plan)
    learn(learners, 1, 2, 4)  # asked for after the second, kept after the third
    ranks.deaths[1, "update"] = 0
    learn(learners, 8)
    assert sums(learners)[1] == 1 + 2 + 8
    assert learners.statistics().num_lost_updates == 1


class Busy:
    """A group that trains by itself, and its ranks."""

    def __init__(self, ranks: Ranks | None = None) -> None:
        self.ranks = ranks or Ranks()
        self.group = AsyncSliceLearnerGroup(
            self.ranks,
            PLAN,
            train_batch_size=10,
            max_staleness=99,
            queue_capacity=3,
            num_steps_per_fragment=10,
        )

    def put(self, *numbers: int) -> None:
        self.group.put([Numbered(number) for number in numbers])


def test_the_group_has_learned_what_the_slowest_rank_has_and_lets_no_more_wait() -> None:
    busy = Busy()
    assert busy.group.room == 3
    busy.put(1, 2, 4)
    assert busy.group.room == 0
    reports = [report for _ in range(6) for report in busy.group.reports(0.0)]
    assert [report.num_updates for report in reports] == [1, 1, 1]
    assert [report.weights.version for report in reports] == [1, 2, 3]
    assert busy.group.room == 3
    assert sums(busy.group) == dict.fromkeys(range(4), 7.0)


def test_a_rank_that_dies_gets_again_what_it_had_not_learned_from_and_the_other_goes_on() -> None:
    busy = Busy()
    busy.put(1)
    busy.group.get_state()
    before = busy.group.publish().version
    busy.put(2, 4)
    busy.ranks.ranks[1].is_alive = False
    state = busy.group.get_state()
    reports = busy.group.reports(0.0)
    assert sum(report.num_updates for report in reports) == 3
    assert sum(report.num_restarts for report in reports) == 1
    learned = state["stacks"]["s"]
    assert learned["numbers"].tolist() == [0, 1, 2, 3]
    assert learned["learner"]["sum"].tolist() == [7.0, 6.0, 7.0, 6.0]
    assert all(busy.group.publish().sums[policy][0] > before for policy in (1, 3))
    assert in_step(busy.ranks)


def test_ranks_that_train_by_themselves_leave_out_and_count_once_what_went_with_its_node() -> None:
    busy = Busy()
    busy.ranks.lost = {2}
    busy.put(1, 2, 4)
    busy.group.get_state()
    reports = busy.group.reports(0.0)
    assert sum(report.num_updates for report in reports) == 3
    assert sum(report.num_lost_rows for report in reports) == 10
    assert sums(busy.group) == dict.fromkeys(range(4), 5.0)
    assert busy.ranks.made == []
    assert in_step(busy.ranks)


def test_a_fast_rank_that_dies_is_not_handed_again_what_it_had_learned_from() -> None:
    busy = Busy()
    busy.put(1, 2, 4)
    busy.ranks.slow = {1}
    assert busy.group.reports(0.0) == []
    busy.ranks.slow = set()
    assert [report.num_updates for report in busy.group.reports(0.0)] == [1]
    assert busy.group.room == 1
    busy.ranks.ranks[0].is_alive = False
    stack = busy.group.get_state()["stacks"]["s"]
    assert stack["learner"]["sum"].tolist() == [0.0, 7.0, 0.0, 7.0]
    assert busy.group.statistics().num_lost_updates == 3
    assert in_step(busy.ranks)


@pytest.mark.parametrize("dying", [(1, "count_change"), (0, "state_after_all"), (0, "publish")])
def test_policies_change_after_all_that_was_put_and_stay_where_a_rank_dies(dying: tuple[int, str]) -> None:
    busy = Busy()
    busy.put(1, 2)
    busy.group.get_state()
    busy.ranks.deaths[dying] = 0
    busy.group.change([[(0, "add_policy", 4)], [(1, "count_change")]], WITH_ANOTHER)
    assert busy.group.publish().sums[4][1] == 0.0
    assert in_step(busy.ranks)
    busy.put(4)
    busy.group.get_state()
    assert sums(busy.group)[4] == 4.0
    assert sums(busy.group)[1 - dying[0]] == 7.0  # of the other rank
    assert in_step(busy.ranks)
