from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from outrider.algorithm.figure import figure
from outrider.algorithm.live_view import LiveView, curve
from outrider.algorithm.plain_lines import PlainLines
from outrider.algorithm.stopping import StopRule, StopSettings

ALGORITHM: Any = None


def result(iteration: int, **metrics: Any) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "num_env_steps": iteration * 100,
        "time_s": 65.0,
        "env_steps_per_s": 1234.0,
        "environment_s": 0.5,
        "policy_s": 0.25,
        "learner_s": 0.25,
        "rest_s": 0.0,
        **metrics,
    }


def shown(*results: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    rule = StopRule(StopSettings(num_env_steps=400), reward_threshold=475.0)
    with LiveView("ppo on CartPole-v1", rule, console=console) as view:
        for one in results:
            view._drawn_at = 0.0
            view.on_train_result(ALGORITHM, one)
        view.on_stop(ALGORITHM, "400 environment steps done")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_view_shows_progress_return_speed_and_where_time_goes() -> None:
    text = shown(result(1), result(2, episode_return_mean=21.5, **{"learner/entropy": 0.69}))
    for part in (
        "ppo on CartPole-v1",
        "no episode has ended yet",
        "100 steps  1:05  at most 3:15 to go",
        "21.5",
        "wanted 475",
        "1,234 environment steps/s",
        "environment 50%  policy 25%  learner 25%  rest 0%",
        "entropy 0.69",
        "stopped: 400 environment steps done",
    ):
        assert part in text


def test_a_run_that_stops_before_its_first_iteration_shows_its_title() -> None:
    assert "ppo on CartPole-v1" in shown()


@pytest.mark.parametrize(
    ("value", "shown"), [(489.71, "489.7"), (-1242.0, "-1242.0"), (0.6134, "0.613"), (-0.0, "0")]
)
def test_a_return_has_the_digits_that_it_needs(value: float, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([1.0], "▁   "), ([0.0, 0.0, 7.0, 7.0, 0.0, 0.0, 7.0, 7.0], "▁█▁█"), ([3.0, 3.0], "▁▁  ")],
)
def test_a_curve_is_drawn_in_blocks(values: list[float], drawn: str) -> None:
    assert curve(values, 4) == drawn


def test_plain_lines_hold_back_all_but_the_first_the_evaluated_and_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with PlainLines() as view:
        for one in (
            result(1),
            result(2),
            result(3, **{"evaluation/episode_return_mean": 9.0}),
            result(4),
            result(5),
        ):
            view.on_train_result(ALGORITHM, one)
        view.on_stop(ALGORITHM, "done")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1", "3", "5", "done"]
    assert lines[1].endswith("evaluated 9")
