"""The mailbox of one process."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.testing.mailbox_conformance import MailboxConformance
from outrider.testing.messages import example_fragment
from outrider.transport import LocalMailbox, Mailbox


class TestLocalMailbox(MailboxConformance):
    def make_mailbox(self, capacity: int) -> Mailbox[Any]:
        return LocalMailbox(capacity)


def test_messages_move_by_reference() -> None:
    mailbox: LocalMailbox[Any] = LocalMailbox(1)
    fragment = example_fragment()
    mailbox.put(fragment)
    assert mailbox.get() is fragment


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_mailbox_without_room_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"capacity={capacity} lets no message through; give at least 1"):
        LocalMailbox(capacity)
