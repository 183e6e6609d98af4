"""The asynchronous loop, with runners and learners that do what a test writes down."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from outrider.algorithm import IMPALAConfig
from outrider.algorithm.loops.asynchronous import AsynchronousLoop, StalledError
from outrider.algorithm.loops.totals import Totals
from outrider.envrunner import PoolStatistics, WaitInterruptedError
from outrider.learner import UpdateReport
from outrider.transport import FragmentReference, LocalWeights, WeightsReference
from outrider.wire import EpisodeStatistics, Fragment, FragmentSummary, SamplingStatistics, Weights


class ElsewhereFragment:
    """A fragment that the loop must not load."""

    summary = FragmentSummary(
        num_rows=10,
        num_streams=1,
        policy_version=0,
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
        statistics=SamplingStatistics(),
    )

    def load(self) -> Fragment:
        raise AssertionError("the loop loaded a fragment")


def weights(version: int) -> LocalWeights:
    return LocalWeights(Weights(version=version, fingerprint="fake", tensors={}))


def report(version: int, **fields: Any) -> UpdateReport:
    values: dict[str, Any] = {
        "num_updates": 1,
        "num_rows": 10,
        "metrics": {"loss": float(version)},
        "weights": weights(version),
        "staleness": {0: 1},
        "num_stale_rows": 0,
        "work_s": 0.1,
        "wait_s": 0.2,
        "queue_depth": 1.0,
    }
    return UpdateReport(**(values | fields))


class ScriptedRunners:
    """Has a number of fragments ready at each call, and remembers what was offered and asked."""

    def __init__(self, *ready: int) -> None:
        self.ready = deque(ready)
        self.offered: list[int] = []
        self.at_most: list[int] = []
        self.state: Mapping[str, Any] = {}

    def offer(self, weights: WeightsReference) -> None:
        self.offered.append(weights.version)

    def collect(self, *, at_most: int, timeout_s: float) -> list[ElsewhereFragment]:
        self.at_most.append(at_most)
        num = self.ready.popleft() if self.ready else 0
        return [ElsewhereFragment() for _ in range(min(num, at_most))]

    def interrupt(self) -> None: ...

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(num_runners=2)

    def get_state(self) -> dict[str, Any]:
        return {"incarnations": [1, 2]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.state = state

    def close(self) -> None: ...


class ScriptedLearners:
    """Reports what is written down, one list for each call."""

    def __init__(self, *reports: Sequence[UpdateReport], room: int = 8) -> None:
        self.room = room
        self.waited_s: list[float] = []
        self.num_put = 0
        self.version = 0
        self._reports = deque(reports)

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        assert len(fragments) <= self.room
        self.num_put += len(fragments)

    def reports(self, timeout_s: float) -> Sequence[UpdateReport]:
        self.waited_s.append(timeout_s)
        return self._reports.popleft() if self._reports else []

    def publish(self) -> WeightsReference:
        return weights(self.version)

    def learn_what_was_put(self) -> None:
        self.version += 5

    def get_state(self) -> dict[str, Any]:
        return {"version": self.version}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.version = state["version"]

    def close(self) -> None: ...


def loop(runners: ScriptedRunners, learners: ScriptedLearners, **settings: float) -> AsynchronousLoop:
    return AsynchronousLoop(runners, learners, **({"min_time_s": 0.0, "patience_s": 5.0} | settings))


def test_fragments_go_to_the_learners_and_newer_weights_to_the_runners() -> None:
    runners, learners = ScriptedRunners(2, 1), ScriptedLearners([], [report(1), report(2)])
    iteration = loop(runners, learners).iterate()
    assert learners.num_put == 3
    assert runners.offered == [0, 2]
    assert len(iteration.summaries) == 3
    assert iteration.metrics == {"loss": 2.0}


def test_no_more_is_collected_than_there_is_room_for_and_then_the_learners_are_waited_for() -> None:
    runners, learners = ScriptedRunners(9), ScriptedLearners([], [report(1)], room=3)
    loop(runners, learners).iterate()
    assert runners.at_most[0] == 3
    runners, learners = ScriptedRunners(), ScriptedLearners([report(1)], room=0)
    loop(runners, learners).iterate()
    assert runners.at_most == []
    assert learners.waited_s[0] > 0


def test_weights_of_learners_that_went_back_are_offered_before_they_learn_again() -> None:
    runners, learners = ScriptedRunners(), ScriptedLearners([report(1)], [], [report(3)])
    going = loop(runners, learners)
    going.iterate()
    learners.version = 2  # with max_staleness=0 they take nothing that older weights sampled
    going.iterate()
    assert runners.offered == [0, 1, 1, 2, 3]


def test_an_iteration_has_an_update_and_lasts_as_long_as_it_should() -> None:
    learners = ScriptedLearners([], [], [], [report(1)])
    assert loop(ScriptedRunners(), learners).iterate().learners.num_updates == 1
    began = time.perf_counter()
    loop(ScriptedRunners(), ScriptedLearners([report(1)]), min_time_s=0.05).iterate()
    assert time.perf_counter() - began >= 0.05


class InterruptedRunners(ScriptedRunners):
    """Is interrupted once it has nothing more that is ready."""

    def collect(self, *, at_most: int, timeout_s: float) -> list[ElsewhereFragment]:
        if not self.ready:
            raise WaitInterruptedError
        return super().collect(at_most=at_most, timeout_s=timeout_s)


def test_what_came_in_before_an_interruption_is_counted_also_where_no_update_was_reported() -> None:
    iteration = loop(InterruptedRunners(2), ScriptedLearners()).iterate()
    assert (len(iteration.summaries), iteration.learners.num_updates) == (2, 0)
    result = Totals(IMPALAConfig().environment("CartPole-v1").settings).add(iteration)
    assert result["num_env_steps"] == 20
    assert not [name for name in result if name.startswith("learner/")]


def test_an_interruption_before_anything_came_in_ends_the_wait() -> None:
    with pytest.raises(WaitInterruptedError):
        loop(InterruptedRunners(), ScriptedLearners()).iterate()


def test_reports_are_summed_up() -> None:
    reports = [
        report(4, num_updates=3, queue_depth=2.0, staleness={0: 2, 1: 1}, num_lost_updates=1, num_restarts=1),
        report(5, queue_depth=6.0, staleness={1: 1}, num_stale_rows=20),
    ]
    work = loop(ScriptedRunners(), ScriptedLearners(reports)).iterate().learners
    assert (work.num_updates, work.queue_depth, work.staleness) == (4, 3.0, {0: 2, 1: 2})
    assert (work.num_stale_rows, work.num_lost_updates, work.num_restarts) == (20, 1, 1)
    assert work.work_s == pytest.approx(0.2)


def test_restarts_of_learners_are_counted_from_the_beginning() -> None:
    going = loop(ScriptedRunners(), ScriptedLearners([report(1, num_restarts=1)], [report(2)]))
    assert [going.iterate().learners.num_restarts for _ in range(2)] == [1, 1]


def test_learners_that_stand_still_end_the_run_in_a_sentence() -> None:
    with pytest.raises(StalledError, match=r"no update within 0\.05 s; raise learner_timeout_s"):
        loop(ScriptedRunners(), ScriptedLearners(room=0), patience_s=0.05).iterate()


def test_a_full_queue_does_not_end_the_run_while_lost_learners_are_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 0.0

    class GoingBack(ScriptedLearners):
        def reports(self, timeout_s: float) -> Sequence[UpdateReport]:
            nonlocal now_s
            now_s += timeout_s if self.waited_s else 60.0  # longer than an update may take
            return super().reports(timeout_s)

    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    learners = GoingBack([], [], [report(2, num_restarts=1)], room=0)
    assert loop(ScriptedRunners(), learners, patience_s=5.0).iterate().learners.num_restarts == 1


def test_a_loop_settles_to_the_weights_of_its_state_and_offers_them_in_the_next_iteration() -> None:
    runners, learners = ScriptedRunners(2), ScriptedLearners([report(1)], [report(6)])
    going = loop(runners, learners)
    going.iterate()
    assert going.weights.version == 1
    for _ in range(2):  # nothing was put in between
        going.settle()
        assert going.weights.version == going.get_state()["learner"]["version"] == 5
    going.iterate()
    assert runners.offered == [0, 1, 5, 6]


def test_a_loop_goes_on_with_the_weights_of_its_state() -> None:
    runners, learners = ScriptedRunners(), ScriptedLearners([report(8)])
    going = loop(runners, learners)
    going.set_state({"learner": {"version": 7}, "runners": {"incarnations": [1, 2]}})
    assert going.weights.version == 7
    assert runners.state == {"incarnations": [1, 2]}
    going.iterate()
    assert runners.offered == [7, 8]
    assert going.get_state() == {"learner": {"version": 7}, "runners": {"incarnations": [1, 2]}}
