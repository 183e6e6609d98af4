"""Who sits where, and what the driver hears of it, without any connection."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from outrider.envrunner.fleet.remote_runners import (
    Failed,
    Left,
    Lost,
    Placed,
    Ready,
    RunnerEvent,
    Sampled,
    Waiting,
)
from outrider.envrunner.gateway.seats import Seated, Seats
from outrider.testing.messages import example_fragment
from outrider.testing.numbered_runner import numbered_weights
from outrider.transport import LocalFragment, WeightsReference
from outrider.wire.session import Goodbye, GoodbyeReason

FRAGMENT = LocalFragment(example_fragment())
NOBODY = Waiting(0, "nobody is connected")


class Guest:
    """An occupant that notes what it is told."""

    def __init__(self, name: str = "guest") -> None:
        self.name = name
        self.told: list[Any] = []

    def assign(self, index: int, incarnation: int) -> None:
        self.told.append(("assign", index, incarnation))

    def ask(self, sequence: int, weights: WeightsReference | None) -> None:
        self.told.append(("ask", sequence, weights and weights.version))

    def offer(self, weights: WeightsReference) -> None:
        self.told.append(("offer", weights.version))

    def get_state(self, timeout_s: float) -> Mapping[str, Any]:
        return {"timeout_s": timeout_s}

    def set_state(self, state: Mapping[str, Any], timeout_s: float) -> None: ...

    def stop(self, goodbye: Goodbye) -> None:
        self.told.append(goodbye.reason)


def open_seats(num_seats: int = 1) -> Seats:
    seats = Seats(num_seats)
    for index in range(num_seats):
        seats.start(index, 0)
    seats.events(0)
    return seats


def seated(seats: Seats, guest: Guest) -> Seated:
    """Seat somebody who is ready, and forget what was said about it."""
    made = seats.occupy(guest)
    made.ready()
    seats.events(0)
    guest.told.clear()
    return made


def news(seats: Seats) -> list[RunnerEvent]:
    return list(seats.events(0))


def test_a_seat_that_is_opened_waits_for_somebody() -> None:
    seats = Seats(1)
    seats.start(0, 0)
    assert news(seats) == [NOBODY]


def test_who_comes_gets_the_lowest_free_seat_and_its_incarnation() -> None:
    seats, guest = Seats(3), Guest()
    for index in (2, 1):
        seats.start(index, index + 10)
    seats.events(0)
    made = seats.occupy(guest)
    assert guest.told == [("assign", 1, 11)]
    made.ready()
    assert news(seats) == [Placed(1), Ready(1)]


def test_who_finds_no_seat_gets_the_next_one_that_is_free_in_order() -> None:
    seats = open_seats()
    first, *others = Guest(), Guest(), Guest()
    made = seated(seats, first)
    for guest in others:
        seats.occupy(guest)
    made.gone("it went")
    assert news(seats) == [Lost(0, "it went")]
    assert [guest.told for guest in others] == [[], []]
    seats.start(0, 1)
    assert [guest.told for guest in others] == [[("assign", 0, 1)], []]


def test_who_goes_while_he_waits_for_a_seat_gets_none() -> None:
    seats, guest = open_seats(0), Guest()
    seats.occupy(guest).gone("it went")
    assert guest.told == []
    assert news(seats) == []


def test_a_reserved_seat_is_for_who_knows_of_it() -> None:
    seats, stranger, friend = Seats(1), Guest(), Guest()
    known = seats.reserve(0)
    assert not seats.is_reserved(known)  # as long as it is closed
    seats.start(0, 0)
    assert seats.is_reserved(known)
    assert not seats.is_reserved("")
    seats.occupy(stranger)
    seats.occupy(friend, known)
    assert stranger.told == []
    assert friend.told == [("assign", 0, 0)]
    assert not seats.is_reserved(known)


def test_asks_are_numbered_and_answered_in_order() -> None:
    seats, guest = open_seats(), Guest()
    made = seated(seats, guest)
    seats.ask(0, None)
    seats.ask(0, numbered_weights(7))
    assert guest.told == [("ask", 1, None), ("ask", 2, 7)]
    made.fragment(1, FRAGMENT)
    made.fragment(2, FRAGMENT)
    assert news(seats) == [Sampled(0, FRAGMENT)] * 2


def test_a_fragment_that_nobody_asked_for_is_a_mistake_of_the_occupant() -> None:
    seats = open_seats()
    with pytest.raises(AssertionError, match="fragment 1 was not asked for"):
        seated(seats, Guest()).fragment(1, FRAGMENT)


def test_weights_that_are_offered_reach_those_who_are_ready_and_those_who_will_be() -> None:
    seats, early, late = open_seats(2), Guest(), Guest()
    seated(seats, early)
    made = seats.occupy(late)
    seats.offer(numbered_weights(3))
    assert early.told == [("offer", 3)]
    assert ("offer", 3) not in late.told
    made.ready()
    assert late.told[-1] == ("offer", 3)


def test_who_leaves_answers_what_he_was_asked_for_and_nothing_more() -> None:
    seats, guest = open_seats(), Guest()
    made = seated(seats, guest)
    seats.ask(0, None)
    made.leaving("the shift is over")
    seats.ask(0, None)
    assert guest.told == [("ask", 1, None)]
    made.fragment(1, FRAGMENT)
    assert news(seats) == [Sampled(0, FRAGMENT), Left(0, "everything that was asked for has arrived")]
    assert guest.told[-1] is GoodbyeReason.DONE


def test_who_leaves_with_nothing_open_is_gone_at_once() -> None:
    seats, guest = open_seats(), Guest()
    seated(seats, guest).leaving("the shift is over")
    assert [type(each) for each in news(seats)] == [Left]


def test_who_is_gone_before_he_answered_what_he_was_asked_for_is_lost_though_he_was_leaving() -> None:
    seats = open_seats()
    made = seated(seats, Guest())
    seats.ask(0, None)
    made.leaving("the shift is over")
    made.gone("its time was over")
    assert news(seats) == [Lost(0, "its time was over")]


def test_what_has_arrived_of_one_who_is_gone_counts() -> None:
    seats = open_seats()
    made = seated(seats, Guest())
    seats.ask(0, None)
    made.fragment(1, FRAGMENT)
    made.gone("it went")
    assert news(seats) == [Sampled(0, FRAGMENT), Lost(0, "it went")]


def test_a_bad_fragment_is_not_told_of() -> None:
    seats = open_seats()
    made = seated(seats, Guest())
    seats.ask(0, None)

    def check() -> None:
        made.gone("it was cut off")

    made.unchecked(1, check)
    assert news(seats) == [Lost(0, "it was cut off")]


def test_who_is_sent_away_is_heard_of_no_more() -> None:
    seats, guest = open_seats(), Guest()
    made = seated(seats, guest)
    seats.ask(0, None)
    made.fragment(1, FRAGMENT)
    seats.stop(0)
    made.fragment(1, FRAGMENT)
    made.failed("too late")
    assert guest.told[-1] is GoodbyeReason.LATER
    assert news(seats) == []


def test_who_failed_is_told_with_his_sentence(caplog: pytest.LogCaptureFixture) -> None:
    seats = open_seats()
    made = seated(seats, Guest("farm-7 runner 3 (10.0.0.7:40112)"))
    made.failed("the camera is broken")
    (event,) = news(seats)
    assert isinstance(event, Failed)
    assert str(event.error) == "farm-7 runner 3 (10.0.0.7:40112) failed: the camera is broken"
    assert caplog.messages == ["runner 0, farm-7 runner 3 (10.0.0.7:40112), failed: the camera is broken"]


@pytest.mark.parametrize("end", [Seated.failed, Seated.gone])
def test_what_ends_a_runner_of_our_own_is_left_for_the_driver_to_say(
    end: Callable[[Seated, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    seats = Seats(1)
    known = seats.reserve(0)
    seats.start(0, 0)
    end(seats.occupy(Guest("runner 0 of this machine"), known), "the camera is broken")
    assert "the camera is broken" in str(news(seats)[-1])
    assert caplog.messages == ["runner 0 of this machine joins as runner 0"]


def test_who_joins_and_who_leaves_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seats = open_seats()
    seated(seats, Guest("farm-7")).leaving("drained")
    seats.occupy(Guest("farm-8"))
    assert caplog.messages == [
        "farm-7 joins as runner 0",
        "runner 0, farm-7, leaves: drained",
        "runner 0, farm-7, is gone: everything that was asked for has arrived",
        "farm-8 waits for a seat: none of 1 is free",
    ]


def test_states_are_those_of_who_is_ready() -> None:
    seats, guest = open_seats(), Guest()
    with pytest.raises(ConnectionError, match="runner 0 is gone"):
        seats.occupant(0)
    made = seats.occupy(guest)
    with pytest.raises(ConnectionError, match="runner 0 is gone"):
        seats.occupant(0)
    made.ready()
    assert seats.occupant(0).get_state(3.0) == {"timeout_s": 3.0}


def test_news_wake_the_driver() -> None:
    seats = open_seats()
    made = seats.occupy(Guest())
    seats.events(0)
    threading.Timer(0.02, made.ready).start()
    assert list(seats.events(30)) == [Ready(0)]


def test_at_the_end_all_are_told_also_those_who_wait() -> None:
    seats, guest, spare = open_seats(), Guest(), Guest()
    seated(seats, guest)
    seats.occupy(spare)
    seats.close(Goodbye(reason=GoodbyeReason.DONE))
    assert [guest.told[-1], spare.told[-1]] == [GoodbyeReason.DONE] * 2
