"""Settings of each policy are in force by its own environment steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.learner import PPOSettings
from outrider.learner.stacks.per_policy import PolicySettings
from outrider.learner.training.schedule import value_at

SCHEDULES = [0.5, [[0, 1.0], [100, 0.0]], [[0, 0.25], [10, 1.0], [30, 0.5]], [[0, 0.125]]]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 200), min_size=4, max_size=4))
def test_schedules_are_those_of_a_policy_alone(steps: list[int]) -> None:
    own = {number: {"lr": schedule} for number, schedule in enumerate(SCHEDULES)}
    numbers = PolicySettings(PPOSettings(), range(4), own).at(np.array(steps))
    expected = [value_at(schedule, step) for schedule, step in zip(SCHEDULES, steps, strict=True)]
    np.testing.assert_allclose(numbers.lr, expected, rtol=1e-12)


def test_what_is_not_a_policys_own_is_that_of_all() -> None:
    settings = PolicySettings(PPOSettings(grad_clip=None, gamma=0.9), [3, 5], {5: {"gamma": 0.5}})
    numbers = settings.at(np.zeros(2, np.int64))
    assert numbers.gamma.tolist() == [0.9, 0.5]
    assert numbers.grad_clip.tolist() == [np.inf, np.inf]


def test_a_policys_own_value_is_checked_like_any_other() -> None:
    with pytest.raises(ValueError, match="gamma"):
        PolicySettings(PPOSettings(), [0], {0: {"gamma": 1.5}})
