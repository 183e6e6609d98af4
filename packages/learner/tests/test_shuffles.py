"""Orders are random, and depend on the policy alone."""

import numpy as np

from outrider.learner.rows.shuffles import orders, shuffle_keys

KEYS = shuffle_keys(1, np.arange(3))
UPDATES = np.zeros(3, np.int64)


def test_an_order_holds_each_row_once_before_the_padding() -> None:
    order_PR = orders(KEYS, UPDATES, 0, np.array([5, 9, 1]))
    for order_R, num_rows in zip(order_PR, (5, 9, 1), strict=True):
        assert sorted(order_R[:num_rows]) == list(range(num_rows))


def test_an_order_does_not_depend_on_who_else_is_shuffled() -> None:
    together = orders(KEYS, np.array([4, 5, 6]), 2, np.array([5, 9, 7]))
    alone = orders(KEYS[2:], np.array([6]), 2, np.array([7]))
    assert together[2, :7].tolist() == alone[0].tolist()


def test_policies_updates_epochs_and_seeds_have_orders_of_their_own() -> None:
    many = np.array([50, 50, 50])
    drawn = [
        *orders(KEYS, UPDATES, 0, many),
        *orders(KEYS, UPDATES + 1, 0, many),
        *orders(KEYS, UPDATES, 1, many),
        *orders(shuffle_keys(2, np.arange(3)), UPDATES, 0, many),
    ]
    assert len({tuple(order) for order in drawn}) == len(drawn)


def test_every_row_is_as_likely_to_come_first() -> None:
    num_policies, num_rows = 20_000, 4
    keys = shuffle_keys(0, np.arange(num_policies))
    first = orders(keys, np.zeros(num_policies, np.int64), 0, np.full(num_policies, num_rows))[:, 0]
    share = np.bincount(first, minlength=num_rows) / num_policies
    np.testing.assert_allclose(share, 0.25, atol=0.015)  # five standard deviations
