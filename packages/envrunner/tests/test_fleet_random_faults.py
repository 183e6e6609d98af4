"""Whatever is lost, late or silent: what was asked for comes once or is counted, and nobody waits for ever.

The fake runners raise an AssertionError where somebody waits without end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.envrunner import AsyncRunnerFleet, EnvRunnerSettings, RunnerFleet
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.numbered_runner import NumberedRunner, numbered_weights, sampled_by

NUM_RUNNERS, NUM_ROWS = 3, 10
Deed: TypeAlias = Callable[[FakeRunners], None]

runner = st.integers(0, NUM_RUNNERS - 1)
seconds = st.sampled_from([0.5, 1.0, 3.0, 15.0])
deed: st.SearchStrategy[Deed] = st.one_of(
    st.builds(lambda i, s: lambda remote: remote.lose(i, in_s=s), runner, st.sampled_from([0.0, 0.5, 1.5])),
    st.builds(lambda i: lambda remote: remote.hang(i), runner),
    st.builds(lambda i, n: lambda remote: remote.lose_starts(i, n), runner, st.integers(1, 3)),
    st.builds(
        lambda i, s: lambda remote: remote.take_room(i, for_s=s, told_after_s=5), runner, st.integers(6, 60)
    ),
    st.builds(lambda i, s: lambda remote: remote.slow(i, seconds=s), runner, seconds),
    st.builds(lambda i: lambda remote: remote.fail(i, ArithmeticError("scripted")), runner),
    st.builds(lambda s: lambda remote: remote.pass_time(s), seconds),
)
deeds = st.lists(st.lists(deed, max_size=3), min_size=1, max_size=12)


def fleet_settings(*, sample_ahead: bool = False) -> EnvRunnerSettings:
    return EnvRunnerSettings(
        sample_timeout_s=5,
        runner_start_timeout_s=5,
        max_env_runner_restarts=10_000,
        sample_ahead=sample_ahead,
    )


def assert_nothing_is_unaccounted_for(
    remote: FakeRunners, delivered: list[tuple[int, int, int]], num_lost_rows: int, *, num_open: int
) -> None:
    assert len(set(delivered)) == len(delivered)
    assert len(delivered) + num_lost_rows // NUM_ROWS + num_open == sum(remote.num_asked.values())


@pytest.mark.parametrize("sample_ahead", [False, True])
@settings(deadline=None, max_examples=60, derandomize=True)
@given(deeds=deeds)
def test_every_fragment_of_a_synchronous_fleet_comes_once_or_is_counted(
    deeds: list[list[Deed]], sample_ahead: bool
) -> None:
    remote = FakeRunners(NumberedRunner, NUM_RUNNERS)
    made = fleet_settings(sample_ahead=sample_ahead)
    fleet = RunnerFleet(remote, made, num_steps=NUM_ROWS, clock=remote.clock)
    delivered: list[tuple[int, int, int]] = []
    for version, done in enumerate([*deeds, [], []]):
        for deed in done:
            deed(remote)
        with suppress(ArithmeticError, TimeoutError):
            update = [sampled_by(each) for each in fleet.sample(numbered_weights(version))]
            assert update == sorted(update)
            assert update
            delivered += update
    state: Any = None
    while state is None:
        with suppress(ArithmeticError, TimeoutError):
            state = fleet.get_state()
    num_open = len(state["fragments"])
    lost = fleet.statistics().num_lost_rows
    assert_nothing_is_unaccounted_for(remote, delivered, lost, num_open=num_open)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(deeds=deeds)
def test_every_fragment_of_an_asynchronous_fleet_comes_once_or_is_counted(deeds: list[list[Deed]]) -> None:
    remote = FakeRunners(NumberedRunner, NUM_RUNNERS)
    fleet = AsyncRunnerFleet(remote, fleet_settings(), num_steps=NUM_ROWS, clock=remote.clock)
    delivered: list[tuple[int, int, int]] = []
    for version, done in enumerate([*deeds, [], []]):
        for deed in done:
            deed(remote)
        fleet.offer(numbered_weights(version))
        with suppress(ArithmeticError, TimeoutError):
            delivered += [sampled_by(each) for each in fleet.collect(at_most=4, timeout_s=7)]
    num_open = len(fleet._finished) + len(fleet._roster._sampled)
    num_open += sum(fleet._roster.num_requests(index) for index in range(NUM_RUNNERS))
    lost = fleet.statistics().num_lost_rows
    assert_nothing_is_unaccounted_for(remote, delivered, lost, num_open=num_open)
    assert num_open <= 2 * NUM_RUNNERS


def test_half_a_minute_without_faults_heals_every_runner() -> None:
    remote = FakeRunners(NumberedRunner, NUM_RUNNERS)
    fleet = RunnerFleet(remote, fleet_settings(), num_steps=NUM_ROWS, clock=remote.clock)
    fleet.sample(numbered_weights(0))
    for index in range(NUM_RUNNERS):
        remote.lose(index)
        remote.lose_starts(index, 3)
    for version in range(30):
        fleet.sample(numbered_weights(version))
    assert fleet.statistics().num_runners == NUM_RUNNERS
