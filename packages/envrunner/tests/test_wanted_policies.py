"""Who asks for policies is answered over the connection that it asked on, or over none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from outrider.envrunner.gateway.wanted_policies import WantedPolicies
from outrider.envrunner.policies.weights_selection import HeldElsewhere
from outrider.testing.numbered_runner import numbered_weights
from outrider.wire import session


class AnyPolicies:
    """An invitation whose policies can all be had."""

    def check_wanted(self, policies: object) -> None:
        """Refuse none."""

    def policies(self, *_: object) -> list[bytes]:
        return [b"policies"]


class SentOver:
    """A connection that remembers what it was given."""

    def __init__(self) -> None:
        self.attached: list[object] = []

    def send(self, head: bytes, pieces: object) -> None:
        self.attached.append(pieces)


def test_an_answer_that_is_late_goes_nowhere_and_who_asked_again_waits_for_the_next() -> None:
    work: list[Callable[[], None]] = []
    wanted = WantedPolicies(cast("Any", AnyPolicies()), threading.Condition(), work.append, pytest.fail)
    held, weights = HeldElsewhere(on_demand=True), numbered_weights(0)
    request = session.PoliciesWanted(request=1, policies=(3,))
    before, now = SentOver(), SentOver()
    for connection in (before, now):
        wanted.connect(cast("Any", connection), frozenset())
        wanted.take(request, held, weights)
    work[0]()
    with pytest.raises(ValueError, match="before it was sent those of request 1"):
        wanted.take(session.PoliciesWanted(request=2, policies=(4,)), held, weights)
    work[1]()
    assert (before.attached, now.attached) == ([], [[b"policies"]])
