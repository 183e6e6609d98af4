from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outrider.algorithm import CheckpointError, PPOConfig, read_checkpoint

MakeAlgorithm = Callable[..., Any]


def test_an_iteration_collects_with_the_newest_weights_learns_and_publishes(
    make_algorithm: MakeAlgorithm,
) -> None:
    algorithm = make_algorithm()
    first, second = algorithm.train(), algorithm.train()
    assert algorithm.runners.versions == [0, 1]
    assert (first["iteration"], second["iteration"]) == (1, 2)
    assert second["num_env_steps"] == 20
    assert second["learner/loss"] == 0.5
    assert second["episode_return_mean"] == 1.5


def test_the_seconds_of_an_iteration_add_up(make_algorithm: MakeAlgorithm) -> None:
    result = make_algorithm().train()
    assert (result["environment_s"], result["policy_s"]) == (0.25, 0.125)
    assert result["rest_s"] >= 0
    assert result["num_env_restarts"] == 1


def test_before_an_episode_has_ended_returns_are_nan(make_algorithm: MakeAlgorithm) -> None:
    algorithm = make_algorithm()
    algorithm.runners.returns = lambda number: [1.0] if number > 1 else []
    before, after = algorithm.train(), algorithm.train()
    names = [*(f"episode_return_{name}" for name in ("mean", "min", "max")), "recent_return_mean"]
    assert all(math.isnan(before[name]) for name in (*names, "episode_length_mean"))
    assert [after[name] for name in names] == [1.0] * 4


def test_returns_are_averaged_over_the_last_hundred_episodes(make_algorithm: MakeAlgorithm) -> None:
    algorithm = make_algorithm()
    algorithm.runners.returns = lambda number: [0.0] * 90 if number == 1 else [1.0] * 60
    algorithm.train()
    result = algorithm.train()
    assert result["num_episodes"] == 150
    assert result["episode_return_mean"] == pytest.approx(0.6)
    assert result["recent_return_mean"] == 1.0


def test_an_episode_whose_reward_was_no_number_does_not_hide_the_others(
    make_algorithm: MakeAlgorithm,
) -> None:
    algorithm = make_algorithm()
    algorithm.runners.returns = lambda _: [1.0, float("nan"), 3.0]
    result = algorithm.train()
    assert (result["num_episodes"], result["episode_return_mean"]) == (3, 2.0)


def test_an_evaluation_uses_the_newest_weights(make_algorithm: MakeAlgorithm) -> None:
    algorithm = make_algorithm()
    algorithm.train()
    assert algorithm.evaluate()["episode_return_mean"] == 1.0


def test_an_evaluation_that_explores_draws_its_actions_from_its_seed() -> None:
    with PPOConfig().environment("CartPole-v1").debugging(seed=1).build_to_evaluate() as algorithm:
        drawn = algorithm.evaluate(4, seed=3, explore=True)
        assert algorithm.evaluate(4, seed=3, explore=True) == drawn
        assert algorithm.evaluate(4, seed=3) != drawn


def test_what_is_saved_is_what_training_goes_on_from(make_algorithm: MakeAlgorithm, tmp_path: Path) -> None:
    algorithm = make_algorithm()
    algorithm.train()
    algorithm.save(tmp_path / "c")
    tree = read_checkpoint(tmp_path / "c")
    other = make_algorithm()
    other._restore(tree, tmp_path / "c")
    assert other.iteration == 1
    assert other.train()["episode_return_mean"] == algorithm.train()["episode_return_mean"]
    assert other.runners.versions == [1]


def test_the_policy_has_the_newest_weights_when_it_is_asked_for(make_algorithm: MakeAlgorithm) -> None:
    algorithm = make_algorithm()
    algorithm.train()
    algorithm.train()
    assert algorithm.policy is algorithm.policy
    assert algorithm.policy.versions == [2]


def test_a_checkpoint_that_does_not_fit_closes_what_was_opened(make_algorithm: MakeAlgorithm) -> None:
    algorithm = make_algorithm()
    with pytest.raises(CheckpointError, match="does not fit these settings"):
        algorithm._restore({"learner": {}}, "there")
    assert algorithm.runners.num_closed == 1


def test_leaving_a_with_block_closes_the_environments(make_algorithm: MakeAlgorithm) -> None:
    with make_algorithm() as algorithm:
        assert algorithm.runners.num_closed == 0
    assert algorithm.runners.num_closed == 1


def test_what_was_stopped_neither_trains_nor_is_saved(make_algorithm: MakeAlgorithm, tmp_path: Path) -> None:
    algorithm = make_algorithm()
    algorithm.stop()
    with pytest.raises(ValueError, match=r"train\(\) after stop\(\): the runners and learners"):
        algorithm.train()
    with pytest.raises(ValueError, match=r"save\(\) after stop\(\): the runners and learners"):
        algorithm.save(tmp_path / "c")
