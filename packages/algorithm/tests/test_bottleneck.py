from __future__ import annotations

from typing import Any

import pytest

from outrider.algorithm.loops.bottleneck import bottleneck
from outrider.algorithm.loops.shares import Shares
from outrider.envrunner import EnvRunnerSettings
from outrider.learner import LearnerGroupSettings


def shares(
    *,
    runners: float,
    learner: float,
    learner_wait: float | None = None,
    policy: float = 0.1,
    env_step_s: float = 0.0,
) -> Shares:
    """Return shares of runners that spend a fifth of the time in environments, more than in the policy."""
    return Shares(
        environment=0.2,
        policy=policy,
        runner_work=runners,
        learner_work=learner,
        learner_wait=1 - learner if learner_wait is None else learner_wait,
        env_step_s=env_step_s,
    )


def said(
    at: Shares,
    *,
    asynchronous: bool = False,
    gpus: float = 0,
    up: int | None = None,
    cores_busy: float | None = None,
    **env_runners: Any,
) -> str:
    return bottleneck(
        at,
        env_runners=EnvRunnerSettings(**env_runners),
        learners=LearnerGroupSettings(num_gpus_per_learner=gpus),
        is_asynchronous=asynchronous,
        num_runners_up=up,
        cores_busy=cores_busy,
    )


def test_a_learner_that_waits_needs_more_runners() -> None:
    sentence = said(shares(runners=1.0, learner=0.37), asynchronous=True, num_env_runners=2)
    assert sentence == "the learner waits 63% of the time for fragments: raise num_env_runners"


def test_runners_that_wait_need_a_faster_learner() -> None:
    at = shares(runners=0.5, learner=1.0)
    sentence = said(at, asynchronous=True, num_env_runners=2)
    assert sentence.startswith("runners wait 50% of the time for the learner: give the learner a GPU")
    with_gpu = said(at, asynchronous=True, num_env_runners=2, gpus=1)
    assert with_gpu == "runners wait 50% of the time for the learner: raise num_learners"


def test_runners_and_a_learner_that_take_turns_are_told_to_overlap() -> None:
    at = shares(runners=0.5, learner=0.45)
    assert "set sample_ahead=True" in said(at, num_env_runners=2)
    assert "raise rollout_fragment_length" in said(at, num_env_runners=2, sample_ahead=True)
    assert "raise rollout_fragment_length" in said(at, num_env_runners=2, asynchronous=True)


def test_taking_turns_is_no_matter_where_one_of_the_two_hardly_works() -> None:
    sentence = said(shares(runners=0.09, learner=0.70), num_env_runners=2)
    assert sentence == (
        "learning takes 70% of the time: "
        "give the learner a GPU (num_gpus_per_learner=1) or raise num_learners"
    )
    sentence = said(shares(runners=0.75, learner=0.1), num_env_runners=2)
    assert sentence == "sampling takes 75% of the time: raise num_env_runners"
    assert "set sample_ahead=True" in said(shares(runners=0.2, learner=0.70), num_env_runners=2)


def test_runners_that_are_not_up_are_what_a_run_waits_for() -> None:
    at = shares(runners=1.0, learner=0.3)
    sentence = "1 of 3 runners are up: the others are still starting, or were lost and are made anew"
    assert said(at, num_env_runners=3, up=1, cores_busy=0.97) == sentence
    assert said(at, num_env_runners=3, up=3) == said(at, num_env_runners=3)


def test_policy_calls_that_are_most_of_a_step_need_more_copies_until_there_are_many() -> None:
    at = shares(runners=1.0, learner=0.3, policy=0.5)
    assert "raise num_envs_per_env_runner" in said(at, num_env_runners=2)
    assert said(at, num_env_runners=2, num_envs_per_env_runner=32).endswith(": raise num_env_runners")


@pytest.mark.parametrize(
    ("env_runners", "cure"),
    [
        ({"num_envs_per_env_runner": 4}, "set gym_env_vectorize_mode=ASYNC, as a step takes 5 ms"),
        ({}, "raise num_env_runners, or num_envs_per_env_runner with ASYNC, as a step takes 5 ms"),
        ({"num_envs_per_env_runner": 4, "gym_env_vectorize_mode": "async"}, "raise num_env_runners"),
    ],
)
def test_slow_steps_are_taken_at_the_same_time(env_runners: dict[str, Any], cure: str) -> None:
    at = shares(runners=1.0, learner=0.1, env_step_s=0.005)
    assert f": {cure}" in said(at, num_env_runners=2, **env_runners)


def test_in_one_process_what_takes_longest_is_the_bottleneck() -> None:
    assert said(shares(runners=0.7, learner=0.3)) == "sampling takes 70% of the time: raise num_env_runners"
    assert said(shares(runners=0.3, learner=0.7)).startswith("learning takes 70% of the time: give")


def test_a_machine_whose_cores_are_busy_is_the_limit() -> None:
    busy: dict[str, Any] = {"num_env_runners": 2, "asynchronous": True, "cores_busy": 0.97}
    machines = "all cores of this machine are busy, and more machines are the next dial (ray_address)"
    assert said(shares(runners=1.0, learner=0.3), **busy).endswith(machines)
    assert said(shares(runners=1.0, learner=1.0), **busy).endswith(machines)
    assert said(shares(runners=0.5, learner=0.5), **busy).endswith(machines)
    assert "(num_gpus_per_learner=1), as all cores" in said(shares(runners=0.5, learner=1.0), **busy)
    idle = busy | {"cores_busy": 0.4}
    assert said(shares(runners=1.0, learner=1.0), **idle).endswith(
        "raise num_env_runners and num_learners together"
    )


def test_where_runners_come_from_farms_those_are_the_dial() -> None:
    farms = {"num_env_runners": 2, "listen": "127.0.0.1:0"}
    at = shares(runners=1.0, learner=0.37)
    assert said(at, asynchronous=True, **farms).endswith("raise num_env_runners and start more farm runners")
    assert said(at, up=1, **farms) == (
        "1 of 2 runners are up: start more farm runners (outrider-farm --runners N)"
    )
    assert "farm runners that have not joined" in said(at, up=1, num_farm_runners=1, **farms)
    assert said(shares(runners=0.9, learner=0.9), asynchronous=True, **farms).endswith(
        "raise num_env_runners and num_learners together, and start more farm runners"
    )
