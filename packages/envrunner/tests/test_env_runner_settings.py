"""Settings are checked once, and say what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from gymnasium.envs.registration import VectorizeMode

from outrider.envrunner import EnvRunnerSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_envs_per_env_runner": 0}, "num_envs_per_env_runner is 0; it must be a whole number >= 1"),
        ({"num_env_runners": -1}, "num_env_runners is -1"),
        ({"num_env_runners": 1.5}, "num_env_runners is 1.5"),
        ({"rollout_fragment_length": "long"}, "rollout_fragment_length is 'long'"),
        ({"gym_env_vectorize_mode": "threads"}, "allowed are 'async', 'sync', 'vector_entry_point'"),
        ({"env_step_timeout_s": 0}, "env_step_timeout_s is 0"),
        ({"env_step_timeout_s": float("inf")}, "env_step_timeout_s is inf"),
        ({"num_cpus_per_env_runner": -1}, "num_cpus_per_env_runner is -1"),
        ({"sample_timeout_s": 0}, "sample_timeout_s is 0; it must be a number of seconds above 0"),
        ({"runner_start_timeout_s": 1e7}, "runner_start_timeout_s is 10000000.0"),
        ({"max_requests_in_flight_per_env_runner": 0}, "it must be a whole number >= 1"),
        ({"max_env_runner_restarts": -1}, "max_env_runner_restarts is -1"),
        (
            {"custom_resources_per_env_runner": 1},
            "custom_resources_per_env_runner is 1; give amounts by name",
        ),
        ({"custom_resources_per_env_runner": {"disk": 0}}, "asks for 0 of 'disk'; give a name and a number"),
        (
            {"env_runner_runtime_env": "pip"},
            "env_runner_runtime_env is 'pip'; give Ray's runtime environment",
        ),
        (
            {"env_runner_backend": "threads"},
            "env_runner_backend is 'threads'; allowed are 'auto', 'ray', 'process'",
        ),
        ({"listen": 50051}, 'listen is 50051; give an address such as "0.0.0.0:50051", or None'),
        ({"token_file": " "}, "token_file is ' '; give the name of a file, or None"),
        ({"num_farm_runners": -1}, "num_farm_runners is -1; it must be a whole number >= 0"),
        ({"max_runners": 0}, "max_runners is 0; it must be a whole number >= 1"),
        ({"min_runners": 0}, "min_runners is 0; it must be a whole number >= 1"),
        ({"join_timeout_s": 0}, "join_timeout_s is 0; it must be a number of seconds above 0"),
        ({"reconnect_timeout_s": -1}, "reconnect_timeout_s is -1; it must be a number of seconds above 0"),
        ({"max_runners_per_token": 0}, "max_runners_per_token is 0; it must be a whole number >= 1"),
        ({"max_messages_per_s": 0}, "max_messages_per_s is 0; it must be a number above 0"),
        ({"fragment_compression": "gzip"}, "allowed are 'none', 'lz4', 'zstd'"),
        ({"weights_dtype": "float16"}, "weights_dtype is 'float16'; allowed are 'float32', 'bfloat16'"),
        ({"act_batch_delay_s": 2}, "act_batch_delay_s is 2; it must be a number of seconds from 0 to 1"),
    ],
)
def test_a_value_outside_its_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        EnvRunnerSettings(**given)


def test_a_vectorize_mode_may_be_given_by_name() -> None:
    assert EnvRunnerSettings(gym_env_vectorize_mode="async").gym_env_vectorize_mode is VectorizeMode.ASYNC


@pytest.mark.parametrize(
    ("given", "num_farm", "num_own"),
    [
        ({}, 0, 4),
        ({"num_farm_runners": 3}, 0, 4),
        ({"listen": ":0"}, 4, 0),
        ({"listen": ":0", "num_farm_runners": 3}, 3, 1),
    ],
)
def test_runners_come_from_farms_where_they_are_let_in(
    given: dict[str, Any], num_farm: int, num_own: int
) -> None:
    settings = EnvRunnerSettings(num_env_runners=4, **given)
    assert (settings.num_farm_env_runners, settings.num_own_env_runners) == (num_farm, num_own)
