from __future__ import annotations

from outrider.algorithm.views.ray_metrics import gauge_values, ray_is_running


def test_only_finite_numbers_that_were_measured_go_out_to_ray() -> None:
    result = {"num_env_steps": 64, "episode_return_mean": float("nan"), "bottleneck": "a", "rest_s": 1.0}
    assert gauge_values(result) == {"num_env_steps": 64.0}


def test_without_ray_there_is_none_to_send_to() -> None:
    assert not ray_is_running()
