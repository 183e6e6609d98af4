"""Names close to a mistyped one, for errors that teach."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


MOST_SHOWN = 60
"""Names that a sentence lists; of more, it lists eight."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the rest of a sentence that names what was probably meant, or what is allowed.

    >>> did_you_mean("gama", ["gamma", "lr"])
    'did you mean gamma?'
    >>> did_you_mean("xyz", ["gamma", "lr"])
    'known are gamma, lr'
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(names) > MOST_SHOWN:
        return f"there are {len(names)}, such as {', '.join(names[:8])}"
    return f"known are {', '.join(names)}"
