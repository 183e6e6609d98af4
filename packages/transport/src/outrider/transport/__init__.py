"""How messages move between the parts of Outrider."""

from outrider.transport.local_mailbox import LocalMailbox
from outrider.transport.mailbox import Mailbox, MailboxClosedError, MailboxStatistics
from outrider.transport.references import FragmentReference, LocalFragment, LocalWeights, WeightsReference

__all__ = [
    "FragmentReference",
    "LocalFragment",
    "LocalMailbox",
    "LocalWeights",
    "Mailbox",
    "MailboxClosedError",
    "MailboxStatistics",
    "WeightsReference",
]
