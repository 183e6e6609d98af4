"""Groups of two ranks with policies of their own; ranks here are counters, which die when they are told to.

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
from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.plans.policy_slices import join_states
from outrider.learner.plans.sharing import SHARED_POLICIES
from outrider.learner.slices.async_slice_learners import AsyncSliceLearnerGroup
from outrider.learner.slices.slice_learners import SliceLearnerGroup
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
        self.flickering: dict[int, int] = {}
        """How often a fragment more is found wherever it is looked for, and lost again when it is needed."""
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
        elif self._lacks({"update": args[1:], "put": args[2:]}.get(name, ())):
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

    @property
    def are_in_step(self) -> bool:
        return self.ranks[0].version == self.ranks[1].version

    def _first(self, rank: int) -> Rank:
        numbers = [number for stack in self.plan.stacks for number in stack.seeds]
        return Rank({number: 0.0 for number in numbers if number % 2 == rank})

    def _lacks(self, fragments: Sequence[int]) -> bool:
        flickering = [number for number in fragments if self.flickering.get(number)]
        self.flickering |= {number: self.flickering[number] - 1 for number in flickering}
        return bool(flickering) or not self.lost.isdisjoint(fragments)

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


class Learners:
    """A group of either kind, and its ranks."""

    def __init__(self, ranks: Ranks, group: Any) -> None:
        self.ranks, self.group = ranks, group

    def sums(self) -> dict[int, float]:
        return {policy: total for policy, (_, total) in sorted(self.group.publish().sums.items())}

    def add_policy(self) -> None:
        """Add policy 4 at rank 0."""
        self.group.change([[(0, "add_policy", 4)], [(1, "count_change")]], WITH_ANOTHER)


class Waiting(Learners):
    """Those that are waited for."""

    def __init__(self, plan: MultiAgentPlan = PLAN) -> None:
        ranks = Ranks()
        super().__init__(ranks, SliceLearnerGroup(ranks, plan))

    def learn(self, *numbers: int) -> None:
        """Make an update on each fragment."""
        for number in numbers:
            self.learn_at_once(number)

    def learn_all(self, *numbers: int) -> None:
        self.learn(*numbers)

    def learn_at_once(self, *numbers: int) -> None:
        self.group.update([Numbered(number) for number in numbers])


class Busy(Learners):
    """Those that train by themselves."""

    def __init__(self) -> None:
        ranks = Ranks()
        group = AsyncSliceLearnerGroup(
            ranks,
            PLAN,
            train_batch_size=10,
            max_staleness=99,
            queue_capacity=3,
            num_steps_per_fragment=10,
        )
        super().__init__(ranks, group)

    def put(self, *numbers: int) -> None:
        self.group.put([Numbered(number) for number in numbers])

    def learn_all(self, *numbers: int) -> None:
        self.put(*numbers)
        self.group.get_state()


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def with_snapshots() -> Waiting:
    """Provide those that keep a snapshot after each second update."""
    return Waiting(replace(PLAN, settings=LearnerGroupSettings(num_updates_between_snapshots=2)))


@pytest.fixture
def busy() -> Busy:
    return Busy()


@pytest.fixture(params=[Waiting, Busy], ids=["waited for", "by themselves"])
def either(request: pytest.FixtureRequest) -> Learners:
    made: Learners = request.param()
    return made
