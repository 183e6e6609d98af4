"""Which weights a runner of a farm keeps of those that it was sent, and which of them act."""

from __future__ import annotations

from outrider.envrunner.farm.weights_at_hand import WeightsAtHand
from outrider.wire.session import Ask

WEIGHTS = memoryview(b"weights")


def test_only_the_newest_are_kept_where_nobody_waits_for_others() -> None:
    weights = WeightsAtHand()
    for version in range(5):
        weights.take(version, WEIGHTS, [])
    assert weights.version_for(Ask(1, 3)) == 4
    assert weights.newest == 4


def test_those_that_an_ask_wants_are_kept_until_they_act() -> None:
    weights = WeightsAtHand()
    for version in range(5):
        weights.take(version, WEIGHTS, [Ask(1, 2)])
    assert weights.version_for(Ask(1, 2)) == 2
    assert weights.hold(2) is WEIGHTS
    assert weights.version_for(Ask(2, 1)) == 4
    assert weights.hold(2) is None


def test_who_has_to_be_given_its_weights_again_has_none_meanwhile() -> None:
    weights = WeightsAtHand()
    weights.take(3, WEIGHTS, [])
    weights.hold(3)
    weights.forget()
    assert (weights.newest, weights.version_for(Ask(1, None))) == (None, None)
