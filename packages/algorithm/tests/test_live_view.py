from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from outrider.algorithm.figure import figure
from outrider.algorithm.settings.stopping import StopRule, StopSettings
from outrider.algorithm.views.live_view import LiveView
from outrider.algorithm.views.plain_lines import PlainLines

ALGORITHM: Any = None


def result(iteration: int, **metrics: Any) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "num_env_steps": iteration * 100,
        "time_s": 65.0,
        "iteration_s": 1.0,
        "env_steps_per_s": 1234.0,
        "episode_return_mean": math.nan,
        "num_env_runners": 3,
        "environment_s": 0.5,
        "policy_s": 0.25,
        "learner_s": 0.25,
        "rest_s": 0.0,
        "runner_work_share": 0.8,
        "runner_wait_share": 0.2,
        "learner_work_share": 0.25,
        "learner_wait_share": 0.75,
        **metrics,
    }


def shown(*results: dict[str, Any], width: int = 120, num_env_runners: int = 0) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    rule = StopRule(StopSettings(num_env_steps=400), reward_threshold=475.0)
    with LiveView("ppo on CartPole-v1", rule, num_env_runners=num_env_runners, console=console) as view:
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


ASYNCHRONOUS = {
    "queue_depth": 2.0,
    "staleness_mean": 1.0,
    "staleness_max": 2,
    "staleness_histogram": [1, 2, 1],
    "num_runner_restarts": 2,
    "num_lost_rows": 1024,
    "num_lost_updates": 0,
    "bottleneck": "the learner waits 75% of the time for fragments: raise num_env_runners",
}


def test_with_runners_elsewhere_the_live_view_shows_who_works_and_who_waits() -> None:
    text = shown(result(1, **ASYNCHRONOUS), num_env_runners=4)
    for part in (
        "3 of 4 runners up",
        "environment 50%  policy 25%  rest 5%  waiting 20%",
        "learning 25%  rest 0%  waiting 75%",
        "2.0 fragments wait  staleness ▁█▁ 0 to 2, mean 1.0 updates",
        "2 runners, 1,024 rows  ",
        "the learner waits 75% of the time for fragments: raise num_env_runners",
    ):
        assert part in text


def test_in_eighty_columns_only_the_sentence_takes_a_second_line() -> None:
    long = ASYNCHRONOUS | {"bottleneck": "the learner waits " * 5, "episode_return_mean": -1234.5}
    text = shown(result(100_000, **long), width=80, num_env_runners=64)
    last = text[text.rindex("ppo on CartPole-v1") : text.rindex("stopped:")].splitlines()
    names = ["ppo", "progress", "return", "speed", "runners", "learner", "queue", "lost", "dial", "waits"]
    assert [line.split()[0] for line in last] == names


def test_a_run_that_stops_before_its_first_iteration_shows_its_title() -> None:
    assert "ppo on CartPole-v1" in shown()


@pytest.mark.parametrize(
    ("value", "shown"), [(489.71, "489.7"), (-1242.0, "-1242.0"), (0.6134, "0.613"), (-0.0, "0")]
)
def test_a_return_has_the_digits_that_it_needs(value: float, shown: str) -> None:
    assert figure(value) == shown


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


def test_plain_lines_say_who_waits_and_at_the_end_which_dial_to_turn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = PlainLines(num_env_runners=4)
    view.on_train_result(ALGORITHM, result(1, **ASYNCHRONOUS))
    view.on_stop(ALGORITHM, "done")
    first, dial, _ = capsys.readouterr().out.splitlines()
    assert first.endswith("3/4 runners  wait  20%  learner waits  75%")
    assert dial == "dial: the learner waits 75% of the time for fragments: raise num_env_runners"


def test_plain_lines_average_waits_over_all_that_happened_since_the_line_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = PlainLines(num_env_runners=4)
    view.on_train_result(ALGORITHM, result(1))
    view.on_train_result(ALGORITHM, result(2, iteration_s=3.0, learner_wait_share=1.0))
    view.on_train_result(ALGORITHM, result(3, iteration_s=1.0, learner_wait_share=0.0, runner_wait_share=0.6))
    view.on_stop(ALGORITHM, "done")
    assert capsys.readouterr().out.splitlines()[1].endswith("wait  30%  learner waits  75%")


def test_plain_lines_say_how_many_steps_of_agents_there_were(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines().on_train_result(ALGORITHM, result(1, agent_steps_per_s=78_976.0))
    assert "   1,234 steps/s    78,976 of agents  " in capsys.readouterr().out


FARMS = {"num_farm_runners": 2, "num_joined": 1005, "num_left": 3, "num_refused": 1, "num_cut_off": 0}


def test_both_views_say_who_came_from_farms_and_went(capsys: pytest.CaptureFixture[str]) -> None:
    said = "2 up, 1,005 joined, 3 left, 1 refused"
    text = shown(result(1, **FARMS), num_env_runners=4)
    assert f"farms     {said}" in text
    assert "farms" not in shown(result(1), num_env_runners=4)
    lines = PlainLines(num_env_runners=4)
    lines.on_train_result(ALGORITHM, result(1, **FARMS))
    assert f"3/4 runners  farms: {said}  wait" in capsys.readouterr().out
