"""Fake runners do what a test says, when it says so."""

from __future__ import annotations

import math

import pytest

from outrider.envrunner.fleet.remote_runners import Failed, Lost, Ready, Sampled
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.numbered_runner import NumberedRunner, numbered_weights, sampled_by


def started(num_runners: int = 1) -> FakeRunners:
    remote = FakeRunners(NumberedRunner, num_runners)
    for index in range(num_runners):
        remote.start(index, incarnation=0)
    assert remote.events(1) == [Ready(index) for index in range(num_runners)]
    return remote


def test_time_passes_only_where_somebody_waits() -> None:
    remote = started()
    remote.ask(0, numbered_weights(0))
    assert remote.events(0) == []
    assert remote.events(0.5) == []
    (event,) = remote.events(100)
    assert isinstance(event, Sampled)
    assert sampled_by(event.fragment) == (0, 0, 0)
    assert remote.clock() == 2.0


def test_requests_queue_up_and_the_newest_weights_act() -> None:
    remote = started()
    for _ in range(2):
        remote.ask(0, None)
    assert remote.events(5) == []
    remote.offer(numbered_weights(1))
    remote.pass_time(0.5)
    remote.offer(numbered_weights(2))
    remote.pass_time(5)
    versions = [event.fragment.summary.policy_version for event in remote.events(0)]  # type: ignore[union-attr]
    assert versions == [1, 2]


def test_a_lost_runner_delivers_nothing_more() -> None:
    remote = started()
    remote.ask(0, numbered_weights(0))
    remote.lose(0, in_s=0.5)
    assert remote.events(5) == [Lost(0, "its process was killed")]
    remote.ask(0, numbered_weights(0))
    assert remote.events(5) == []
    with pytest.raises(ConnectionError, match="runner 0 is gone"):
        remote.get_state(0, 1)


def test_a_hanging_runner_says_nothing_and_has_no_state_to_give() -> None:
    remote = started()
    remote.hang(0)
    with pytest.raises(TimeoutError, match="did not answer within 3 s"):
        remote.get_state(0, 3)
    remote.ask(0, numbered_weights(0))
    assert remote.events(5) == []


def test_a_runner_fails_as_it_is_told_and_goes_on() -> None:
    remote = started()
    error = ArithmeticError("scripted")
    remote.fail(0, error)
    for _ in range(2):
        remote.ask(0, numbered_weights(0))
    remote.pass_time(5)
    failed, sampled = remote.events(0)
    assert failed == Failed(0, error)
    assert isinstance(sampled, Sampled)


def test_nothing_comes_from_a_runner_that_was_stopped() -> None:
    remote = started(2)
    for index in range(2):
        remote.ask(index, numbered_weights(0))
    remote.pass_time(5)
    remote.stop(0)
    assert [event.index for event in remote.events(0)] == [1]


def test_waiting_without_end_for_what_never_comes_is_an_error() -> None:
    with pytest.raises(AssertionError, match="waits without end"):
        started().events(math.inf)


def test_asking_again_and_again_without_waiting_is_an_error() -> None:
    remote = started()
    with pytest.raises(AssertionError, match="without waiting"):
        any(remote.events(0) for _ in range(10_000))
