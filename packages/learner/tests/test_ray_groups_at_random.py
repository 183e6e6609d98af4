"""Groups that share rows, on a Ray that is made up: actors die, and fragments are lost, at any moment of it.

A rank "learns" by noting the numbers of the fragments that all ranks of an update were given.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

exceptions = pytest.importorskip("ray.exceptions", reason="the extra ray is not installed")

from outrider.learner import LearnerGroupSettings  # noqa: E402
from outrider.learner.groups.introduction import introduction  # noqa: E402
from outrider.learner.groups.rank_error import LostRankError, error_message  # noqa: E402
from outrider.learner.plans.rank_state import digests, own_part  # noqa: E402
from outrider.learner.plans.sharing import SHARED_ROWS  # noqa: E402
from outrider.learner.ray_groups import ray_async_learners, ray_learners, ray_ranks  # noqa: E402
from outrider.learner.ray_groups.ray_async_learners import RayAsyncLearnerGroup  # noqa: E402
from outrider.learner.ray_groups.ray_learners import RayLearnerGroup  # noqa: E402
from outrider.transport.ray_references import RayFragment  # noqa: E402
from outrider.wire import (  # noqa: E402
    EpisodeStatistics,
    FragmentSummary,
    SamplingStatistics,
    answer_hello,
    decode_hello,
    encode_welcome,
)

NUM_RANKS = 2
NUM_ROWS = 10
"""Of a fragment; two make an update."""
EVERY = 2
"""Updates between snapshots."""
PLAN: Any = SimpleNamespace(
    settings=LearnerGroupSettings(
        num_learners=NUM_RANKS, num_updates_between_snapshots=EVERY, max_learner_restarts=6
    ),
    sharing=SHARED_ROWS,
    to_message=lambda _: {},
)
HELLO = introduction("a learner on Ray")
WELCOME = encode_welcome(answer_hello(HELLO, HELLO))


class LostArgumentError(exceptions.RayTaskError, exceptions.ObjectLostError):  # type: ignore[misc,name-defined]
    """What Ray raises for a call whose argument is gone."""

    def __init__(self) -> None:
        Exception.__init__(self, "an argument is gone")

    def __str__(self) -> str:
        return "an argument is gone"


@dataclass(frozen=True)
class Lying:
    """Where a fragment lies."""

    number: int


@dataclass(eq=False)
class Ref:
    """Where the answer of a call will lie."""

    is_there: bool = False
    value: Any = None
    error: Exception | None = None

    def set(self, value: Any = None, error: Exception | None = None) -> None:
        if not self.is_there:
            self.is_there, self.value, self.error = True, value, error


@dataclass(frozen=True)
class Fault:
    ranks: tuple[int, ...]
    """That die."""
    fragments: Collection[int]
    """That are lost."""


@dataclass
class MadeUpRay:
    """What the groups use of Ray; time goes on with each thing that happens."""

    faults: Mapping[int, Fault] = field(default_factory=dict)
    """At which moment what goes wrong."""
    moment: int = 0
    lost: set[int] = field(default_factory=set)
    actors: list[Actor] = field(default_factory=list)

    def begin(self, faults: Mapping[int, Fault]) -> None:
        """Let these things go wrong from now on."""
        self.moment, self.faults = 0, faults

    def go_on(self) -> None:
        self.moment += 1
        if fault := self.faults.get(self.moment):
            self.lost |= set(fault.fragments)
            for rank, actor in enumerate(self.actors[-NUM_RANKS:]):
                if rank in fault.ranks:
                    actor.die()

    def remote(self, **_: Any) -> Callable[[Any], Any]:
        options = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._actor))
        return lambda _: options

    def put(self, value: Any) -> Any:
        return value

    def kill(self, handle: Any) -> None:
        handle.actor.die()

    def is_initialized(self) -> bool:
        return True

    def get(self, ref: Ref, timeout: float | None = None) -> Any:
        self._work()
        assert ref.is_there, "nobody works, and somebody waits without end"
        if ref.error is not None:
            raise ref.error
        return ref.value

    def wait(
        self, refs: Sequence[Ref], *, num_returns: int, timeout: float | None
    ) -> tuple[list[Ref], list[Ref]]:
        self._work()
        if timeout and not any(ref.is_there for ref in refs):
            for actor in self.actors:
                actor.answer_that_nothing_was_learned()
        ready = [ref for ref in refs if ref.is_there][:num_returns]
        return ready, [ref for ref in refs if ref not in ready]

    def _actor(self) -> Any:
        actor = Actor(self, len(self.actors))
        self.actors.append(actor)
        return actor.handle

    def _work(self) -> None:
        while sum(actor.step() for actor in self.actors):
            pass


class Actor:
    """One rank, which does one thing after the other, and trains beside that once it was told to begin."""

    def __init__(self, world: MadeUpRay, number: int) -> None:
        self._world, self._number, self._is_alive = world, number, True
        self.calls: deque[tuple[str, tuple[Any, ...], Ref, Ref]] = deque()
        self._reports: deque[tuple[Ref, Ref]] = deque()
        self._given: list[Ref] = []
        self._rank = 0
        self.version = self._snapshot_version = self._num_begun = self._num_unreported = 0
        self.trained: list[int] = []
        self.queue: deque[list[int]] | None = None
        """Numbers of fragments; None until it trains by itself."""
        self._failed: LostRankError | None = None
        self.handle = SimpleNamespace(
            actor=self,
            call=SimpleNamespace(remote=lambda *call: self._take(*call)[0]),
            call_with_weights=SimpleNamespace(remote=self._take),
            report=SimpleNamespace(remote=self._take_report),
        )

    def die(self) -> None:
        self._is_alive = False
        for ref in self._given:
            ref.set(error=exceptions.ActorDiedError())
        self.calls.clear()
        self._reports.clear()

    def step(self) -> bool:
        """Do what can be done now; return whether there was something."""
        did = self._is_alive and self._train()
        did |= self._is_alive and self._report()
        return (self._is_alive and self._do()) or did

    def answer_that_nothing_was_learned(self) -> None:
        while self._reports:
            answer, weights = self._reports.popleft()
            answer.set({"num_updates": 0, "num_begun": self._num_begun})
            weights.set()

    @property
    def _group(self) -> list[Actor]:
        first = self._number - self._rank
        return self._world.actors[first : first + NUM_RANKS]

    @property
    def _can_sum(self) -> bool:
        return all(other._is_alive for other in self._group)

    def _give(self) -> tuple[Ref, Ref]:
        self._world.go_on()
        refs = Ref(), Ref()
        self._given += refs
        if not self._is_alive:
            self.die()
        return refs

    def _take(self, name: str, *arguments: Any) -> tuple[Ref, Ref]:
        answer, weights = self._give()
        if any(isinstance(each, Lying) and each.number in self._world.lost for each in arguments):
            answer.set(error=LostArgumentError())
            weights.set(error=LostArgumentError())
        elif self._is_alive:
            self.calls.append((name, arguments, answer, weights))
        return answer, weights

    def _take_report(self, _: float) -> tuple[Ref, Ref]:
        refs = self._give()
        if self._is_alive:
            self._reports.append(refs)
        return refs

    def _train(self) -> bool:
        if self.queue is None or self._failed is not None:
            return False
        if not self._can_sum:
            self._failed = LostRankError("a sum failed")
            return True
        if self._rank or not all(other.queue for other in self._group):
            return False
        self._world.go_on()
        if self._can_sum:
            learn(self._group, [other.queue.popleft() for other in self._group if other.queue])
        return True

    def learned(self, fragments: Sequence[int]) -> None:
        self.version += 1
        self._num_begun += 1
        self._num_unreported += 1
        self.trained = [*self.trained, *fragments]

    def _report(self) -> bool:
        if not self._reports or not (self._num_unreported or self._failed):
            return False
        self._world.go_on()
        if not self._is_alive:
            return True
        answer, weights = self._reports.popleft()
        weights.set("weights")
        if self._failed is not None:
            answer.set(error_message(self._failed))
            return True
        state = None
        if self.version - self._snapshot_version >= EVERY:
            state, self._snapshot_version = self._state(), self.version
        told = {"num_updates": self._num_unreported, "num_begun": self._num_begun, "version": self.version}
        spent = {"work_s": 0.0, "wait_s": 0.0, "queue_depth": 0.0}
        answer.set(told | spent | {"metrics": {}, "snapshot": state})
        self._num_unreported = 0
        return True

    def _do(self) -> bool:
        if not self.calls:
            return False
        name, arguments, answer, weights = self.calls[0]
        if name == "update" and self._can_sum:
            return self._update_with_the_others()
        self.calls.popleft()
        self._world.go_on()
        if self._is_alive:
            weights.set("weights")
            try:
                answer.set(self._answer(name, *arguments))
            except LostRankError as error:
                answer.set(error_message(error))
        return True

    def _update_with_the_others(self) -> bool:
        if self._rank or not all(other.calls and other.calls[0][0] == "update" for other in self._group):
            return False
        self._world.go_on()
        if self._can_sum:
            calls = [other.calls.popleft() for other in self._group]
            learn(self._group, [numbers(arguments) for _, arguments, _, _ in calls])
            for _, _, answer, weights in calls:
                answer.set({"metrics": {"loss": 1.0}, "version": self.version})
                weights.set("weights")
        return True

    def _answer(self, name: str, *arguments: Any) -> dict[str, Any]:
        if self._failed is not None or (name == "update" and not self._can_sum):
            raise LostRankError("a sum failed")
        match name:
            case "greet":
                assert decode_hello(arguments[0]).component == HELLO.component
                return {"welcome": WELCOME}
            case "join":
                self._rank = arguments[1]
                if not self._can_sum:
                    raise LostRankError("nobody else joins")
            case "set_state":
                self.version, self.trained = arguments[0]["version"], list(arguments[0]["trained"])
            case "get_state" | "state_after_all":
                state, known = self._state(), arguments[0]
                return (
                    {"state": own_part(state, known)}
                    if known
                    else {"state": state, "digests": digests(state)}
                )
            case "begin":
                self.queue, self._snapshot_version = deque(), self.version
            case "put":
                assert self.queue is not None
                self.queue.append(numbers(arguments))
        return {"version": self.version, "host": "", "port": 0}

    def _state(self) -> dict[str, Any]:
        return {"version": self.version, "trained": np.array(self.trained, np.int64)}


def numbers(arguments: Sequence[Any]) -> list[int]:
    return [each.number for each in arguments if isinstance(each, Lying)]


def learn(ranks: Sequence[Actor], shards: Sequence[Sequence[int]]) -> None:
    """Train all ranks on what they together have."""
    for rank in ranks:
        rank.learned(sorted({number for shard in shards for number in shard}))


def fragment(number: int, version: int) -> RayFragment:
    summary = FragmentSummary(
        num_rows=NUM_ROWS,
        num_streams=2,
        policy_version=version,
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
        statistics=SamplingStatistics(),
    )
    lies: Any = Lying(number)
    return RayFragment(lies, summary)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MadeUpRay:
    """Let the groups have a Ray of ours."""
    world = MadeUpRay()
    for module in (ray_ranks, ray_learners, ray_async_learners):
        monkeypatch.setattr(module, "ray", world)
    monkeypatch.setattr(ray_ranks, "introduction", lambda _: HELLO)
    return world


def async_group(**taken_in: int) -> RayAsyncLearnerGroup:
    usual: dict[str, Any] = {"train_batch_size": 2 * NUM_ROWS, "max_staleness": 100, "queue_capacity": 2}
    return RayAsyncLearnerGroup(PLAN, num_learners=NUM_RANKS, options=lambda _: {}, **usual | taken_in)


def test_fragments_that_no_learner_could_take_in_cost_no_restart(world: MadeUpRay) -> None:
    world.lost |= {0, 1, 4, 5}
    group = async_group()
    for number in (0, 4):
        group.put([fragment(number, 0), fragment(number + 1, 0)])
        group.put([fragment(number + 2, 0), fragment(number + 3, 0)])
        state = group.get_state()
    statistics, reports = group.statistics(), group.reports(0.0)
    assert (statistics.num_restarts, statistics.num_lost_rows) == (0, 4 * NUM_ROWS)
    assert [report.weights.version for report in reports] == [1, 2]
    assert sum(report.num_fragments for report in reports) == 8
    assert [*state["trained"]] == [2, 3, 6, 7]
    assert [dict(report.staleness) for report in reports] == [{0: 2}, {1: 2}]


def test_what_is_left_where_no_learner_has_all_of_its_own_is_dealt_anew(world: MadeUpRay) -> None:
    world.lost |= {0, 3}
    group = async_group(train_batch_size=4 * NUM_ROWS, max_staleness=0)
    group.put([fragment(0, 0)])
    group.put([fragment(number, 0) for number in (1, 2, 3)])
    group.get_state()
    group.put([fragment(number, 0) for number in (4, 5)])
    assert [*group.get_state()["trained"]] == [1, 2, 4, 5]
    assert group.statistics().num_restarts == 0


def test_what_runners_still_have_of_a_lost_node_costs_one_restart_and_not_one_each_time(
    world: MadeUpRay,
) -> None:
    world.lost |= {1, 3, 5, 7}
    group = async_group()
    for number in range(0, 10, 2):
        group.put([fragment(number, 0), fragment(number + 1, 0)])
        state = group.get_state()
    assert group.statistics().num_restarts == 1
    assert [*state["trained"]] == [0, 2, 4, 6, 8, 9]


ALL, ODD = range(40), range(1, 40, 2)
FAULTS = [
    Fault((0,), ()),
    Fault((1,), ()),
    Fault((0, 1), ()),
    Fault((), ODD),
    Fault((), ALL),
    Fault((0,), ODD),
    Fault((1,), ODD),
    Fault((0,), ALL),
    Fault((), {6}),
    Fault((0,), {4, 5}),
]


def schedule(seed: int, num_moments: int) -> dict[int, Fault]:
    dice = random.Random(seed)
    moments = [dice.randrange(1, num_moments) for _ in range(dice.choice((1, 2, 3)))]
    if dice.random() < 0.5:
        moments.append(moments[0] + dice.randrange(1, 5))
    return {moment: dice.choice(FAULTS) for moment in moments}


@pytest.mark.parametrize("seed", range(100))
def test_ranks_that_never_wait_learn_once_from_what_is_not_lost(world: MadeUpRay, seed: int) -> None:
    group = async_group()
    world.begin(schedule(seed, 60))
    version, num_put, reports = group.publish().version, 0, []
    for turn in range(60):
        num_new = min(group.room, 12 - num_put, 1 + turn % 3)
        group.put([fragment(num_put + each, version) for each in range(num_new)])
        num_put += num_new
        reports += group.reports(0.0)
        assert group.publish().version >= version
        version = group.publish().version
        if turn in (5, 15):
            assert group.get_state()["version"] >= version
    state = group.get_state()
    reports += group.reports(0.0)
    statistics, portions = group.statistics(), group._portions
    growing = [each.summary.num_rows for each in portions._growing]
    assert num_put == 12
    assert sum(report.num_fragments for report in reports) + portions._num_taken == num_put
    assert statistics.num_restarts <= 2 * len(world.faults)
    trained = [*state["trained"]]
    assert len(trained) == len(set(trained))
    undone = statistics.num_lost_updates * 2 * NUM_ROWS
    assert (num_put - len(trained)) * NUM_ROWS <= sum(growing) + statistics.num_lost_rows + undone
    told = sum(report.num_rows for report in reports) + sum(growing) + statistics.num_lost_rows
    assert num_put * NUM_ROWS <= told <= num_put * NUM_ROWS + statistics.num_restarts * 2 * NUM_ROWS


@pytest.mark.parametrize("seed", range(100))
def test_ranks_that_are_waited_for_learn_once_from_what_is_not_lost(world: MadeUpRay, seed: int) -> None:
    group = RayLearnerGroup(PLAN, num_learners=NUM_RANKS, options=lambda _: {})
    world.begin(schedule(seed, 40))
    num_learned, version = 0, group.publish().version
    for number in range(0, 10, 2):
        lost = group.statistics().num_lost_rows
        metrics = group.update([fragment(number, version), fragment(number + 1, version)])
        num_learned += bool(metrics)
        assert metrics or group.statistics().num_lost_rows > lost
        assert group.publish().version >= version + bool(metrics)
        version = group.publish().version
    state, statistics = group.get_state(), group.statistics()
    assert state["version"] == group.publish().version
    trained = [*state["trained"]]
    assert len(trained) == len(set(trained))
    undone = statistics.num_lost_updates * 2 * NUM_ROWS
    assert (10 - len(trained)) * NUM_ROWS <= statistics.num_lost_rows + undone
    assert num_learned * 2 * NUM_ROWS + statistics.num_lost_rows >= 10 * NUM_ROWS
