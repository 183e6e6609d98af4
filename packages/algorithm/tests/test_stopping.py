from __future__ import annotations

from typing import Any

import pytest

from outrider.algorithm.settings.stopping import StopRule, StopSettings

NO_LIMIT = StopSettings(num_env_steps=None, evaluation_return_mean=None)


def result(**metrics: Any) -> dict[str, Any]:
    return {"iteration": 1, "num_env_steps": 100, "time_s": 1.0, **metrics}


@pytest.mark.parametrize(
    ("settings", "metrics", "reason"),
    [
        (StopSettings(num_env_steps=100), {}, "100 environment steps done"),
        (StopSettings(num_env_steps=101), {}, None),
        (StopSettings(iterations=1), {}, "1 iteration done"),
        (StopSettings(time_s=0.5), {}, "1 s of training done"),
        (
            StopSettings(episode_return_mean=5),
            {"episode_return_mean": 5.0},
            "mean return of training reached 5",
        ),
        (StopSettings(episode_return_mean=5), {}, None),
        (
            StopSettings(evaluation_return_mean=9),
            {"evaluation/episode_return_mean": 9.5},
            "evaluated return 9.5 reached 9",
        ),
        (StopSettings(evaluation_return_mean=9), {"evaluation/episode_return_mean": 8.0}, None),
        (NO_LIMIT, {"evaluation/episode_return_mean": 1e9, "episode_return_mean": 1e9}, None),
    ],
)
def test_the_first_limit_that_is_reached_stops(
    settings: StopSettings, metrics: dict[str, Any], reason: str | None
) -> None:
    assert StopRule(settings, reward_threshold=None).reason(result(**metrics)) == reason


def test_the_registered_threshold_is_wanted_unless_settings_say_otherwise() -> None:
    assert StopRule(StopSettings(), reward_threshold=475.0).wanted_return == 475.0
    assert StopRule(StopSettings(evaluation_return_mean=100), reward_threshold=475.0).wanted_return == 100
    assert StopRule(NO_LIMIT, reward_threshold=475.0).wanted_return is None


@pytest.mark.parametrize(("wanted", "near", "far"), [(400.0, 200.0, 199.0), (-100.0, -150.0, -151.0)])
def test_a_look_is_wanted_once_training_comes_near(wanted: float, near: float, far: float) -> None:
    rule = StopRule(StopSettings(), reward_threshold=wanted)
    assert not rule.wants_look(result())
    assert not rule.wants_look(result(recent_return_mean=far))
    assert rule.wants_look(result(recent_return_mean=near))


def test_after_a_look_that_disappoints_the_next_one_waits() -> None:
    rule = StopRule(StopSettings(), reward_threshold=400.0)
    look = {
        "episode_return_mean": 399.0,
        "episode_length_mean": 10.0,
        "num_episodes": 20,
    }
    assert not rule.worth_evaluating(result(recent_return_mean=300.0), look)
    assert not rule.wants_look(result(recent_return_mean=300.0, num_env_steps=199))
    assert rule.wants_look(result(recent_return_mean=300.0, num_env_steps=200))


def test_a_look_that_agrees_is_worth_an_evaluation() -> None:
    rule = StopRule(StopSettings(), reward_threshold=400.0)
    look = {
        "episode_return_mean": 400.0,
        "episode_length_mean": 10.0,
        "num_episodes": 20,
    }
    assert rule.worth_evaluating(result(), look)


def test_progress_is_that_of_the_nearest_limit() -> None:
    rule = StopRule(StopSettings(num_env_steps=1000, time_s=4), reward_threshold=None)
    assert rule.progress(result()) == 0.25
    assert StopRule(NO_LIMIT, reward_threshold=None).progress(result()) == 0.0


@pytest.mark.parametrize("name", ["num_env_steps", "time_s", "iterations"])
def test_a_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0 stops a run before it starts"):
        StopSettings(**{name: 0})


def test_a_return_is_a_number() -> None:
    with pytest.raises(ValueError, match="evaluation_return_mean='high' is not a return"):
        StopSettings(evaluation_return_mean="high")  # type: ignore[arg-type]
