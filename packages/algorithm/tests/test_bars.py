from __future__ import annotations

import pytest

from outrider.algorithm.views.bars import Part, bar, curve


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([1.0], "▁   "), ([0.0, 0.0, 7.0, 7.0, 0.0, 0.0, 7.0, 7.0], "▁█▁█"), ([3.0, 3.0], "▁▁  ")],
)
def test_a_curve_is_drawn_in_blocks(values: list[float], drawn: str) -> None:
    assert curve(values, 4) == drawn


def test_a_bar_is_as_wide_as_it_should_be_however_its_parts_round() -> None:
    thirds = [Part(name, 1 / 3, "", block) for name, block in (("a", "█"), ("b", "▓"), ("c", "░"))]
    assert bar(thirds, 10).plain == "███▓▓▓▓░░░  a 33%  b 33%  c 33%"


def test_a_bar_of_nothing_is_empty() -> None:
    assert bar([Part("a", 0.0, "")], 3).plain == "     a 0%"
