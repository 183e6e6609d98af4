from __future__ import annotations

import logging

import pytest

from outrider.envrunner.environments.restarts import Restarts
from outrider.envrunner.farm.runner_orders import RunnerOrders


def test_copies_that_fail_at_each_step_are_logged_once_in_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    restarts = Restarts(100, clock=lambda: now)
    for step in range(21):
        now = step * 0.5
        restarts.record(0, ArithmeticError("no licence"))
    first, second = [record.getMessage().partition(" failed and is rebuilt ")[2] for record in caplog.records]
    assert first == "(1 of at most 100 in a row)"
    assert second == (
        "(21 of at most 100 in a row, after 19 failures that were not told): ArithmeticError: no licence"
    )
    assert restarts.num_restarts == 21


def printed(*, debug: bool) -> str:
    pytest.importorskip("grpc", reason="the extra grpc is not installed")
    from outrider.envrunner.farm.runner_process import lines_of

    orders = RunnerOrders(address="unix:s", name="runner 3", component="a runner", plan={}, debug=debug)
    error = ArithmeticError("no licence")
    record = logging.LogRecord(
        "outrider", logging.ERROR, "", 1, "copy %d failed", (0,), (type(error), error, None)
    )
    return lines_of(orders).format(record)


def test_a_process_of_the_run_says_in_one_line_which_runner_fails() -> None:
    assert printed(debug=False) == (
        "runner 3: copy 0 failed: ArithmeticError: no licence (OUTRIDER_TRACEBACK=1 shows where)"
    )


def test_whoever_asks_for_tracebacks_gets_them() -> None:
    assert printed(debug=True).splitlines() == ["runner 3: copy 0 failed", "ArithmeticError: no licence"]
