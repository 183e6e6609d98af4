"""How messages move between the parts of Outrider."""

from outrider.transport.local_mailbox import LocalMailbox
from outrider.transport.mailbox import Mailbox, MailboxClosedError, MailboxStatistics

__all__ = ["LocalMailbox", "Mailbox", "MailboxClosedError", "MailboxStatistics"]
