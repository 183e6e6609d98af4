"""Names that there are not: what was probably meant, for errors that teach."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


MOST_SHOWN = 60
"""Names that a sentence lists; of more, it lists eight."""


def no_such(kind: str, name: object, known: Iterable[str]) -> str:
    """Return a sentence which says that nothing of this kind has that name, and what was probably meant.

    >>> no_such("policy", "rad", ["red", "blue"])
    "there is no policy 'rad'; did you mean red?"
    """
    return f"there is no {kind} {name!r}; {did_you_mean(name, known)}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the rest of a sentence that names what was probably meant, or what is allowed.

    >>> did_you_mean("gama", ["gamma", "lr"])
    'did you mean gamma?'
    >>> did_you_mean("xyz", ["gamma", "lr"])
    'known are gamma, lr'
    >>> did_you_mean(0, ["0", "1"])
    "did you mean the text '0'?"
    """
    names = list(known)
    if not isinstance(name, str) and str(name) in names:
        return f"did you mean the text {str(name)!r}?"
    close = get_close_matches(name, names, n=3, cutoff=0.6) if isinstance(name, str) else []
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(names) > MOST_SHOWN:
        return f"there are {len(names):,}, such as {', '.join(names[:8])}"
    return f"known are {', '.join(names)}"
