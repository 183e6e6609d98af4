"""Shares and curves drawn with block characters."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


class Part(NamedTuple):
    """One part of a bar."""

    name: str
    share: float
    colour: str
    block: str = "█"


def bar(parts: Sequence[Part], width: int) -> Text:
    """Draw parts of a whole in their proportion, `width` characters together, and then what they are."""
    text = Text()
    total = sum(part.share for part in parts) or 1.0
    drawn, done = 0, 0.0
    for part in parts:
        done += part.share
        end = round(width * done / total)
        text.append(part.block * (end - drawn), style=part.colour)
        drawn = end
    text.append(" " * (width - drawn))
    for part in parts:
        text.append(f"  {part.name} ", style=part.colour)
        text.append(f"{part.share:.0%}")
    return text


def curve(values: Sequence[float], width: int) -> str:
    """Draw values as blocks of eight heights, from the lowest to the highest.

    >>> curve([0.0, 1.0, 2.0, 7.0], 4)
    '▁▂▃█'
    """
    if len(values) > width:
        ends = [len(values) * (column + 1) // width for column in range(width)]
        values = [
            sum(values[start:end]) / (end - start) for start, end in zip([0, *ends], ends, strict=False)
        ]
    low, high = min(values), max(values)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in values).ljust(width)
