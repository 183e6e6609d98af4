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
    ],
)
def test_a_value_outside_its_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        EnvRunnerSettings(**given)


def test_a_vectorize_mode_may_be_given_by_name() -> None:
    assert EnvRunnerSettings(gym_env_vectorize_mode="async").gym_env_vectorize_mode is VectorizeMode.ASYNC
