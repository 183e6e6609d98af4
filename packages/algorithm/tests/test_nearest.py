from __future__ import annotations

from outrider.algorithm.nearest import did_you_mean


def test_of_thousands_of_names_a_sentence_shows_eight() -> None:
    names = [f"p{index:04}" for index in range(5000)]
    assert did_you_mean("zzz", names) == (
        "there are 5000, such as p0000, p0001, p0002, p0003, p0004, p0005, p0006, p0007"
    )


def test_few_names_are_all_shown() -> None:
    assert did_you_mean("zzz", ["red", "blue"]) == "known are blue, red"
