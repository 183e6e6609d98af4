"""What the training loops do where weights went with the process or node that held them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from outrider.algorithm.loops.asynchronous import AsynchronousLoop
from outrider.algorithm.loops.synchronous import SynchronousLoop
from outrider.envrunner import PoolStatistics
from outrider.envrunner.policies.weights_loading import LostWeightsError, saying_that_weights_are_lost
from outrider.learner import LearnerGroupStatistics, UpdateReport
from outrider.transport import FragmentReference, WeightsReference
from outrider.wire import Weights


class MortalWeights:
    """Weights that are gone once their learner is."""

    def __init__(self, version: int, learners: MortalLearners) -> None:
        self.version = version
        self._learners = learners
        self._life = learners.life

    def load(self) -> Weights:
        if self._learners.life != self._life or self._learners.is_gone:
            raise ConnectionError(f"version {self.version} is gone")
        return Weights(version=self.version, fingerprint="fake", tensors={})


class MortalLearners:
    """Notices that it was lost when it is asked for its state, as groups of ranks do; may go back twice."""

    room = 1

    def __init__(self) -> None:
        self.version = self.life = self.num_looks = 0
        self.is_gone = False
        self._published = MortalWeights(0, self)

    def die(self) -> None:
        self.is_gone = True

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        self.get_state()
        self.version += 1
        self._published = MortalWeights(self.version, self)
        return {"loss": 1.0}

    def put(self, fragments: Sequence[FragmentReference]) -> None: ...

    def learn_what_was_put(self) -> None: ...

    def reports(self, timeout_s: float) -> list[UpdateReport]:
        self.update([])
        return [
            UpdateReport(
                num_updates=1,
                num_rows=1,
                metrics={},
                weights=self._published,
                staleness={0: 1},
                num_stale_rows=0,
                work_s=0.1,
                wait_s=0.1,
                queue_depth=0.0,
            )
        ]

    def publish(self) -> WeightsReference:
        return self._published

    def statistics(self) -> LearnerGroupStatistics:
        return LearnerGroupStatistics(num_restarts=self.life)

    def get_state(self) -> dict[str, Any]:
        self.num_looks += 1
        if self.is_gone:
            if self.life == 2:
                raise RuntimeError("the learners were lost 3 times")
            self.is_gone = False
            self.life += 1
            self.version += 1
            self._published = MortalWeights(self.version, self)
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class LoadingRunners:
    """Runners in the training process, or on farms: what they are given is loaded here."""

    def __init__(self) -> None:
        self.versions: list[int] = []

    def offer(self, weights: WeightsReference) -> None:
        with saying_that_weights_are_lost():
            self.versions.append(weights.load().version)

    def sample(self, weights: WeightsReference) -> list[FragmentReference]:
        self.offer(weights)
        return []

    def collect(self, *, at_most: int, timeout_s: float) -> list[FragmentReference]:
        return []

    def interrupt(self) -> None: ...

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(num_runners=1)

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def learners() -> MortalLearners:
    return MortalLearners()


def test_a_synchronous_run_goes_on_with_what_learners_have_who_went_back(
    learners: MortalLearners, caplog: pytest.LogCaptureFixture
) -> None:
    runners = LoadingRunners()
    loop = SynchronousLoop(runners, learners)
    loop.iterate()
    learners.die()
    with caplog.at_level(logging.WARNING):
        iteration = loop.iterate()
    assert runners.versions == [0, 2]  # not 1
    assert loop.weights.version == 3
    assert iteration.learners.num_restarts == 1
    assert [record.message for record in caplog.records] == [
        "runners cannot have version 1 of the weights, and learners are asked for theirs: version 1 is gone"
    ]


def test_an_asynchronous_run_goes_on_with_what_learners_have_who_went_back(
    learners: MortalLearners,
) -> None:
    runners = LoadingRunners()
    loop = AsynchronousLoop(runners, learners, min_time_s=0.0, patience_s=5.0)
    loop.iterate()
    learners.die()
    loop.iterate()
    assert runners.versions == [0, 1, 2, 3]
    learners.die()
    loop.republish()
    assert loop.weights.version == runners.versions[-1] == 4


def test_learners_go_back_for_weights_no_more_often_than_they_may(learners: MortalLearners) -> None:
    class Deadly(LoadingRunners):
        def offer(self, weights: WeightsReference) -> None:
            learners.die()
            super().offer(weights)

    loop = AsynchronousLoop(Deadly(), learners, min_time_s=0.0, patience_s=5.0)
    with pytest.raises(RuntimeError, match="the learners were lost 3 times"):
        loop.iterate()


def test_weights_that_do_not_come_from_learners_who_are_there_are_given_twice_and_no_more(
    learners: MortalLearners,
) -> None:
    tried = []

    class Unreached(LoadingRunners):
        def offer(self, weights: WeightsReference) -> None:
            tried.append(weights.version)
            raise LostWeightsError("too slow")

    loop = AsynchronousLoop(Unreached(), learners, min_time_s=0.0, patience_s=5.0)
    with pytest.raises(LostWeightsError, match="too slow"):
        loop.iterate()
    assert tried == [0, 0]
