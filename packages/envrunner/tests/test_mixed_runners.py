"""Runners of two kinds are one fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from outrider.envrunner import AsyncRunnerFleet, RunnerFleet
from outrider.envrunner.fleet.mixed_runners import MixedRunners
from outrider.envrunner.fleet.remote_runners import Admission, Lost, Ready, Sampled
from outrider.testing.async_runner_pool_conformance import AsyncRunnerPoolConformance
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.runner_pool_conformance import PoolSetup, RunnerPoolConformance, pool_setup, weights_of
from outrider.transport import LocalWeights


class Mixed(MixedRunners):
    """One fake runner and then two more; a clock on which only waiting takes time, wherever it is done."""

    def __init__(self, setup: PoolSetup) -> None:
        later = replace(setup.plan, first_runner=1)
        self.fakes = FakeRunners(setup.plan.make_runner, num_runners=1), FakeRunners(later.make_runner, 2)
        super().__init__(*self.fakes, clock=self.clock)

    def clock(self) -> float:
        return sum(fake.clock() for fake in self.fakes)

    def wait_for(self, kind: type[Any], num: int) -> list[int]:
        found: list[int] = []
        while len(found) < num:
            assert self.clock() < 100, f"only {found} came"
            found += [event.index for event in self.events(10.0) if isinstance(event, kind)]
        return sorted(found)


class TestMixedRunnerFleet(RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> RunnerFleet:
        remote = Mixed(setup)
        return RunnerFleet(remote, setup.settings, num_steps=setup.num_steps, clock=remote.clock)


class TestMixedAsyncRunnerFleet(AsyncRunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> AsyncRunnerFleet:
        remote = Mixed(setup)
        return AsyncRunnerFleet(remote, setup.settings, num_steps=setup.num_steps, clock=remote.clock)


@pytest.fixture
def mixed() -> Mixed:
    mixed = Mixed(pool_setup())
    for index in range(3):
        mixed.start(index, incarnation=0)
    assert mixed.wait_for(Ready, 3) == [0, 1, 2]
    return mixed


def test_runners_are_counted_one_part_after_the_other(mixed: Mixed) -> None:
    assert mixed.num_runners == 3
    weights = LocalWeights(weights_of(pool_setup(), 0))
    for index in (0, 2):
        mixed.ask(index, weights)
    assert mixed.wait_for(Sampled, 2) == [0, 2]
    assert [dict(fake.num_asked) for fake in mixed.fakes] == [{0: 1}, {1: 1}]


def test_what_happens_in_any_part_ends_the_wait(mixed: Mixed) -> None:
    before_s = mixed.clock()
    mixed.fakes[1].lose(0, in_s=2.0)
    assert mixed.wait_for(Lost, 1) == [1]
    assert mixed.clock() - before_s < 5


def test_a_wait_for_nothing_takes_as_long_as_it_may(mixed: Mixed) -> None:
    before_s = mixed.clock()
    assert mixed.events(0.5) == []
    assert mixed.clock() - before_s == pytest.approx(0.5)


def test_states_and_stops_reach_the_runner_that_is_meant(mixed: Mixed) -> None:
    state = mixed.get_state(2, 1.0)
    mixed.set_state(2, state, 1.0)
    mixed.stop(2)
    mixed.start(2, incarnation=1)
    assert mixed.fakes[1].starts == [(0, 0), (1, 0), (1, 1)]


def test_seats_are_counted_like_runners(mixed: Mixed) -> None:
    mixed.fakes[1].admission = Admission(seats=frozenset({0, 1}), num_refused=2, num_duplicates=3)
    assert mixed.admission == Admission(seats=frozenset({1, 2}), num_refused=2, num_duplicates=3)


def test_all_parts_are_closed_also_where_closing_one_fails(
    mixed: Mixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("it hangs")

    monkeypatch.setattr(mixed.fakes[1], "close", fail)
    with pytest.raises(OSError, match="it hangs"):
        mixed.close()
    assert mixed.fakes[0].is_closed
