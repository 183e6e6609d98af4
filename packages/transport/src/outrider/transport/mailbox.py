"""What every way of moving messages looks like to the two sides that use it.

    one side                mailbox (bounded)             the other side
    put(fragment)  ----->   [ ][ ][fragment]   ----->     get()

A mailbox never drops a message and never grows: a side that is too fast waits for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

Message = TypeVar("Message")


class MailboxClosedError(ConnectionError):
    """The other side closed the mailbox, and there is nothing left to take out of it.

    The sentence says why, as far as the closing side told.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class MailboxStatistics:
    """How full a mailbox is, and which side of it waits for the other.

    A sender that waits much has a receiver that is too slow, and the other way round: these are the
    numbers by which a user decides which dial to turn.
    """

    num_in_flight: int
    """Messages that were put and not yet taken."""
    num_put: int
    """Messages put since the mailbox was made."""
    num_taken: int
    """Messages taken since then."""
    put_wait_s: float
    """Seconds that senders waited for room, summed over senders."""
    get_wait_s: float
    """Seconds that receivers waited for a message, summed over receivers."""


class Mailbox(Protocol[Message]):
    """A bounded queue between threads, processes or machines; safe to use from several threads.

    Messages of one sender arrive in the order in which it put them, each exactly once. Whoever puts a
    message gives it away: neither side changes its arrays afterwards.
    """

    @property
    def capacity(self) -> int:
        """Most messages in flight."""
        ...

    def put(self, message: Message, *, timeout_s: float | None = None) -> None:
        """Wait for room and hand over `message`; None waits for as long as it takes, 0 not at all.

        Raises TimeoutError where there was no room in time, and MailboxClosedError where the mailbox
        is or becomes closed; the message is then not handed over.
        """
        ...

    def get(self, *, timeout_s: float | None = None) -> Message:
        """Wait for a message and return it; None waits for as long as it takes, 0 not at all.

        Raises TimeoutError where none came in time, and MailboxClosedError where the mailbox is or
        becomes closed and all that was put has been taken.
        """
        ...

    def close(self, reason: str = "") -> None:
        """Let nothing more in and wake everyone who waits; what is in flight can still be taken.

        `reason` completes the sentence "the mailbox is closed: ...". Closing again changes nothing.
        """
        ...

    def statistics(self) -> MailboxStatistics:
        """Return the counts so far."""
        ...
