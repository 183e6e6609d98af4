"""What tests send that a peer of ours never would: messages with a few bytes changed.

line = SilentLine()
service.opened(line)
service.received(line, mutated(message, random.Random(0)), None)
"""

from __future__ import annotations

import random

from outrider.wire.session import Terms


class SilentLine:
    """A `Connection` without a network: what is sent over it is thrown away."""

    peer, identity, num_bytes_to_send, broke_rule = "nowhere", "", 0, False

    def __init__(self) -> None:
        """Be open."""
        self.is_closed = False

    def send(self, head: bytes, attachment: object = ()) -> None:
        """Throw a message away."""

    def keep(self, terms: Terms) -> None:
        """Do nothing."""

    def close(self, last: bytes = b"") -> None:
        """Note that nothing more is to come."""
        self.is_closed = True


def mutated(message: bytes, draw: random.Random) -> bytes:
    """Change a few bytes, cut some out, or put some twice."""
    changed = bytearray(message)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0:
                changed[at : at + 1] = bytes((draw.randrange(256),))
            case 1:
                del changed[at : at + draw.randint(1, 8)]
            case 2:
                changed[at:at] = changed[at : at + draw.randint(1, 8)]
            case 3:
                changed[at : at + 1] = draw.choice((b"\xff" * 10, b"\x00", b"\x80\x80\x80\x80\x08"))
    return bytes(changed)
