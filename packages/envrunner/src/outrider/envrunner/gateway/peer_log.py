"""What operators read of peers: how many were sent away, and what they said, on one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """What became of peers, counted under the gateway's lock."""

    num_refused: int = 0
    num_cut_off: int = 0
    num_duplicates: int = 0


def printable(text: str, *, at_most: int = 500) -> str:
    """Return what a peer said as one line for logs, without what could pass for something else."""
    shown = text[:at_most]
    return "".join(each if each.isprintable() else " " for each in shown).strip()
