"""Who came and went on farms: what is counted of it, and how views say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.envrunner import PoolStatistics

UP = "num_farm_runners"
COUNTED = {
    "num_joined": "joined",
    "num_left": "left",
    "num_refused": "refused",
    "num_cut_off": "cut off",
    "num_duplicates": "duplicates dropped",
}
"""Counts of a pool and of a result, and their words."""
EXPECTED = ("num_joined", "num_left", "num_duplicates")
"""Those in which nothing is wrong."""


def farm_news(now: PoolStatistics, before: PoolStatistics) -> dict[str, int]:
    """Return what was added to each count since then."""
    return {name: getattr(now, name) - getattr(before, name) for name in COUNTED}


def farm_words(result: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Say what there is to say, each with whether something is wrong; nothing where no farm may come."""
    if UP not in result:
        return []
    counts = [
        (f"{result[name]:,} {words}", name not in EXPECTED)
        for name, words in COUNTED.items()
        if result.get(name)
    ]
    return [(f"{result[UP]} up", False), *counts]
