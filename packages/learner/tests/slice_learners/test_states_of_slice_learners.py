"""A state is set into ranks that train policies of their own, of either kind, and a rank dies meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_a_rank_that_dies_right_after_a_state_was_set_goes_back_to_that_state(
    waiting: Any, either: Any
) -> None:
    waiting.learn(1, 2)
    state = waiting.group.get_state()
    either.ranks.deaths = {(1, "get_state"): 0, (1, "state_after_all"): 0}
    either.group.set_state(state)
    assert either.ranks.made == [1]
    assert either.sums() == dict.fromkeys(range(4), 3.0)
    assert either.ranks.are_in_step


def test_a_rank_that_dies_while_a_state_is_set_goes_on_from_that_state(waiting: Any, either: Any) -> None:
    waiting.learn(1, 2)
    either.ranks.deaths[0, "set_state"] = 0
    either.group.set_state(waiting.group.get_state())
    assert either.ranks.made == [0]
    assert either.sums() == dict.fromkeys(range(4), 3.0)
    assert either.group.statistics().num_lost_updates == 0
    assert either.ranks.are_in_step


def test_a_state_of_other_policies_is_refused_and_nothing_is_gone_back_to(either: Any) -> None:
    state = either.group.get_state()
    state["stacks"]["s"]["numbers"] = np.arange(1, 5)
    with pytest.raises(ValueError, match="other policies"):
        either.group.set_state(state)
    assert either.group._recovery.version == 0
