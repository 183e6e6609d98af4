"""The book of a run's policies gives each a number of its own."""

from __future__ import annotations

from outrider.algorithm.policies.policy_book import BookedPolicy, PolicyBook


def test_the_number_of_a_policy_that_is_gone_is_never_used_again_also_after_a_checkpoint() -> None:
    booked = [BookedPolicy(name=name, number=n, stack="stack0", planned=0) for n, name in enumerate("ab")]
    book = PolicyBook(booked, 2)
    book.remove("b")
    resumed = PolicyBook.from_state(book.get_state(), num_planned=1)
    assert [each.add("c", stack="stack0", planned=0, own={}).number for each in (book, resumed)] == [2, 2]
