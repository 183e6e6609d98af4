"""How often the training process hears of environments that fail elsewhere."""

from __future__ import annotations

import pytest

from outrider.envrunner.environments.failure_lines import FailureLines


def test_the_first_failure_is_told_at_once_and_later_ones_every_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    passed = [0.0]
    lines = FailureLines(clock=lambda: passed[0])
    for _ in range(25):
        lines.add(3, 2)
        passed[0] += 1
    told = [record.getMessage().partition(";")[0] for record in caplog.records]
    assert told == [
        f"environments that failed and were rebuilt so far: {count}, the last one in runner 3"
        for count in (2, 22, 42)
    ]


def test_environments_that_do_not_fail_are_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    FailureLines().add(0, 0)
    assert not caplog.records
