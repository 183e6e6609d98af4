from __future__ import annotations

from outrider.learner.stacks.numbers_in_words import in_words, other_policies


def test_of_thousands_of_numbers_a_sentence_lists_eight() -> None:
    assert in_words([3, 1]) == "3, 1"
    assert in_words(range(10_000)) == "0, 1, 2, 3, 4, 5, 6, 7 and 9,992 more"
    assert in_words([]) == "none"


def test_a_state_of_other_policies_is_told_by_what_differs() -> None:
    assert str(other_policies(range(1000), [*range(998), 2000], "the learner")) == (
        "the state is of 1,000 policies and the learner has 999: the state alone has 998, 999, the learner "
        "alone has 2000; add and remove policies until they are the same"
    )
    assert "has 2: they are in other stacks; add" in str(other_policies([0, 1], [1, 0], "the learner"))
