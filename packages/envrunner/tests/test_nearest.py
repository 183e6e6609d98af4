from __future__ import annotations

from outrider.envrunner.nearest import did_you_mean, no_such


def test_of_thousands_of_names_a_sentence_shows_eight() -> None:
    names = [f"p{index:04}" for index in range(5000)]
    assert did_you_mean("zzz", names) == (
        "there are 5,000, such as p0000, p0001, p0002, p0003, p0004, p0005, p0006, p0007"
    )


def test_few_names_are_all_shown() -> None:
    assert did_you_mean("zzz", ["red", "blue"]) == "known are red, blue"


def test_what_there_is_not_is_answered_with_what_was_probably_meant() -> None:
    assert no_such("policy", "rad", ["red", "blue"]) == "there is no policy 'rad'; did you mean red?"
    assert no_such("agent", 0, ["0", "1"]) == "there is no agent 0; did you mean the text '0'?"
    assert no_such("policy", None, ["red", "blue"]) == "there is no policy None; known are red, blue"
