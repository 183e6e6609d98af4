"""The suite for mailboxes finds what is wrong with a mailbox."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.testing.mailbox_conformance import MailboxConformance
from outrider.testing.messages import example_weights
from outrider.transport import LocalMailbox, Mailbox, MailboxStatistics


class Unbounded(LocalMailbox[Any]):
    """Says that it holds few messages, and holds any number."""

    def _can_put(self) -> bool:
        return True


class LastInFirstOut(LocalMailbox[Any]):
    """Gives the newest message first."""

    def get(self, *, timeout_s: float | None = None) -> Any:
        self._messages.reverse()
        message = super().get(timeout_s=timeout_s)
        self._messages.reverse()
        return message


class Forgetful(LocalMailbox[Any]):
    """Drops what is in flight when it closes."""

    def close(self, reason: str = "") -> None:
        self._messages.clear()
        super().close(reason)


class Silent(LocalMailbox[Any]):
    """Does not say why it closed."""

    def close(self, reason: str = "") -> None:
        super().close()


class Altering(LocalMailbox[Any]):
    """Changes a message on its way."""

    def get(self, *, timeout_s: float | None = None) -> Any:
        super().get(timeout_s=timeout_s)
        return example_weights()


class Miscounting(LocalMailbox[Any]):
    """Counts nothing."""

    def statistics(self) -> MailboxStatistics:
        return MailboxStatistics(num_in_flight=0, num_put=0, num_taken=0, put_wait_s=0, get_wait_s=0)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Unbounded, "test_a_full_mailbox_takes_nothing_more_until_one_is_taken_out"),
        (LastInFirstOut, "test_messages_come_out_in_the_order_in_which_they_were_put_in"),
        (Forgetful, "test_what_is_in_flight_when_it_closes_can_still_be_taken"),
        (Silent, "test_a_closed_mailbox_takes_nothing_and_says_why"),
        (Altering, "test_a_message_comes_out_as_it_was_put_in"),
        (Miscounting, "test_counts_say_what_is_in_flight"),
        (Miscounting, "test_the_side_that_waits_is_counted"),
    ],
)
def test_a_broken_mailbox_fails(broken: type[LocalMailbox[Any]], test: str) -> None:
    class Suite(MailboxConformance):
        def make_mailbox(self, capacity: int) -> Mailbox[Any]:
            return broken(capacity)

    with pytest.raises((AssertionError, ConnectionError)):
        getattr(Suite(), test)()
