from __future__ import annotations

from typing import Any

import pytest

from outrider.algorithm import APPOConfig, IMPALAConfig, PPOConfig
from outrider.algorithm.assembly.resources import check_resources

CONFIGS: list[Any] = [PPOConfig, IMPALAConfig, APPOConfig]


def num_steps(config: Any) -> int:
    return check_resources(config.environment("CartPole-v1").settings)


@pytest.mark.parametrize(
    ("num_runners", "num_envs", "num_learners", "batch", "length"),
    [
        (0, 1, 0, 2048, 2048),
        (0, 8, 0, 2048, 256),
        (0, 3, 0, 2048, 683),
        (0, 4096, 0, 2048, 1),
        (4, 8, 0, 2048, 64),
        (4, 8, 2, 2048, 128),
    ],
)
def test_an_automatic_fragment_length_covers_the_batches_of_all_learners(
    num_runners: int, num_envs: int, num_learners: int, batch: int, length: int
) -> None:
    config = PPOConfig().env_runners(num_env_runners=num_runners, num_envs_per_env_runner=num_envs)
    config.learners(num_learners=num_learners).training(train_batch_size_per_learner=batch)
    assert num_steps(config) == length


@pytest.mark.parametrize(
    ("num_runners", "num_envs", "batch", "length"),
    [(2, 4, 512, 64), (32, 8, 512, 32), (2, 32, 512, 16), (2, 1024, 512, 1)],
)
def test_asynchronous_fragments_are_not_short_unless_one_were_more_than_a_batch(
    num_runners: int, num_envs: int, batch: int, length: int
) -> None:
    config = IMPALAConfig().env_runners(num_env_runners=num_runners, num_envs_per_env_runner=num_envs)
    assert num_steps(config.training(train_batch_size_per_learner=batch)) == length


def test_a_fragment_length_that_does_not_fit_is_refused_with_one_that_does() -> None:
    config = PPOConfig().env_runners(rollout_fragment_length=16, num_envs_per_env_runner=2)
    with pytest.raises(
        ValueError, match=r'has 32 rows, and a training batch of 2048 .*; give 1024 or "auto"'
    ):
        num_steps(config)
    assert num_steps(config.training(train_batch_size_per_learner=32)) == 16


def test_an_asynchronous_fragment_may_be_shorter_than_the_batch_and_not_longer() -> None:
    config = APPOConfig().env_runners(num_env_runners=2, rollout_fragment_length=50)
    assert num_steps(config.training(train_batch_size_per_learner=500)) == 50
    with pytest.raises(ValueError, match="fragments of 50 rows, and an update has 40; give at most 40"):
        num_steps(config.training(train_batch_size_per_learner=40))


@pytest.mark.parametrize("kind", CONFIGS)
def test_more_learners_than_streams_are_refused(kind: Any) -> None:
    config = kind().env_runners(num_env_runners=2, rollout_fragment_length="auto")
    config.learners(num_learners=3).training(train_batch_size_per_learner=10)
    with pytest.raises(ValueError, match=r"num_learners=3 is too many: an update has \d streams?"):
        num_steps(config.env_runners(num_envs_per_env_runner=1, num_env_runners=1))


def test_a_gpu_for_a_runner_in_this_process_is_refused_with_the_cure() -> None:
    config = PPOConfig().env_runners(num_gpus_per_env_runner=0.5)
    with pytest.raises(
        ValueError, match=r"num_gpus_per_env_runner=0\.5 .* set num_env_runners to at least 1"
    ):
        num_steps(config)


@pytest.mark.parametrize(
    ("config", "warning"),
    [
        (
            PPOConfig().env_runners(num_cpus_per_env_runner=2),
            "num_cpus_per_env_runner=2 is ignored with num_",
        ),
        (PPOConfig().env_runners(sample_timeout_s=1.5), r"sample_timeout_s=1\.5 is ignored with num_env_run"),
        (
            PPOConfig().learners(learner_start_timeout_s=7.0),
            "learner_start_timeout_s=7 is ignored with num_l",
        ),
        (IMPALAConfig().training(max_staleness=3), "max_staleness=3 is ignored with num_env_runners=0"),
        (
            IMPALAConfig().env_runners(num_env_runners=1, sample_ahead=True),
            "sample_ahead=True is ignored by an asynchronous algorithm",
        ),
        (
            PPOConfig().env_runners(num_env_runners=1, max_requests_in_flight_per_env_runner=3),
            "max_requests_in_flight_per_env_runner=3 is ignored by PPO",
        ),
    ],
)
def test_a_setting_that_is_ignored_says_so(config: Any, warning: str) -> None:
    with pytest.warns(UserWarning, match=warning):
        num_steps(config)
