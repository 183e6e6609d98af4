"""Says which policies there are, or in what two sets of them differ, be they two or ten thousand."""

from __future__ import annotations

from collections.abc import Iterable

NUM_SHOWN = 8
"""Numbers that a sentence lists."""


def in_words(numbers: Iterable[object]) -> str:
    """Return numbers for a sentence.

    >>> in_words([0, 1, 4])
    '0, 1, 4'
    >>> in_words(range(1000))
    '0, 1, 2, 3, 4, 5, 6, 7 and 992 more'
    """
    listed = list(numbers)
    shown = ", ".join(map(str, listed[:NUM_SHOWN])) or "none"
    more = len(listed) - NUM_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def other_policies(theirs: Iterable[int], ours: Iterable[int], who: str) -> ValueError:
    """Say that a state is of other policies than `who` has."""
    of_state, here = set(theirs), set(ours)
    parts = [
        f"{of_whom} {in_words(sorted(alone))}"
        for of_whom, alone in (
            ("the state alone has", of_state - here),
            (f"{who} alone has", here - of_state),
        )
        if alone
    ]
    differ = ", ".join(parts) or "they are in other stacks"
    return ValueError(
        f"the state is of {len(of_state):,} policies and {who} has {len(here):,}: {differ}; add and remove "
        "policies until they are the same"
    )
