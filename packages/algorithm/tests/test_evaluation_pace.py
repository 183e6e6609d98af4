from __future__ import annotations

import logging

import pytest

from outrider.algorithm.loops import evaluation_pace
from outrider.algorithm.loops.evaluation_pace import EvaluationPace


def test_a_long_evaluation_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter((100.0, 104.9, 105.0, 119.9, 120.0, 121.0))
    monkeypatch.setattr(evaluation_pace.time, "monotonic", lambda: next(clock))
    caplog.set_level(logging.INFO, "outrider.algorithm")
    pace = EvaluationPace(8)
    for num_ended in (0, 0, 2, 4, 5):
        pace(num_ended)
    dial = "evaluation_duration says how many are played"
    assert caplog.messages == [
        f"evaluating without exploration: 0 of 8 episodes have ended after 5 s; {dial}",
        f"evaluating without exploration: 4 of 8 episodes have ended after 20 s, about 20 s to go; {dial}",
    ]
