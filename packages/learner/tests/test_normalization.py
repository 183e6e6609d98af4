"""Normalisers count each row once, after it was used, and follow episodes over fragments."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import PPOLearner, PPOSettings
from outrider.learner.rows.fragment_rows import rows_from_fragments
from outrider.learner.training.normalization import RewardScale

CPU = torch.device("cpu")


def stream(lab: Any, rewards: list[float], *, terminated: list[int] = [], environment: int = 0) -> Any:  # noqa: B006
    """Make one stream with these rewards that terminates at these rows."""
    fragment = lab.fragment(lab.policy(), [len(rewards)], end_probability=0.0, first_environment=environment)
    flags = np.isin(np.arange(len(rewards)), terminated)
    return replace(fragment, rewards=np.array(rewards, np.float32), terminated=flags)


def test_observations_are_counted_once_and_only_after_training_on_them(lab: Any) -> None:
    policy = lab.policy(normalize_observations=True)
    learner = PPOLearner(policy, PPOSettings(num_epochs=4, minibatch_size=16), seed=0)
    first = lab.fragment(policy, [40, 24])
    metrics = learner.update([first])
    assert metrics["clip_fraction"] >= 0.0
    leaf = policy.observation_normalizer.leaves[0]
    assert float(leaf.count) == 64.0
    np.testing.assert_allclose(leaf.mean, first.observations[""].mean(0, dtype=np.float64), atol=1e-7)
    second = lab.fragment(policy, [64], seed=1)
    one_step = PPOLearner(policy, PPOSettings(num_epochs=1, minibatch_size=64), seed=0)
    assert one_step.update([second])["mean_kl"] == pytest.approx(0.0, abs=1e-6)


def test_discounted_returns_run_on_within_an_episode_and_start_anew_after_it(lab: Any) -> None:
    scale = RewardScale()
    rows = rows_from_fragments([stream(lab, [1.0, 1.0, 4.0, 2.0], terminated=[1])], CPU)
    assert scale.returns(rows, 0.5).tolist() == [1.0, 1.5, 4.0, 4.0]


def test_an_unfinished_episode_goes_on_in_the_next_fragment_of_its_environment(lab: Any) -> None:
    scale = RewardScale()
    scale.returns(rows_from_fragments([stream(lab, [1.0, 1.0]), stream(lab, [8.0], environment=1)], CPU), 0.5)
    later = [stream(lab, [2.0], environment=1), stream(lab, [2.0]), stream(lab, [2.0], environment=2)]
    assert scale.returns(rows_from_fragments(later, CPU), 0.5).tolist() == [6.0, 2.75, 2.0]


def test_two_fragments_of_one_environment_in_one_update_are_one_episode(lab: Any) -> None:
    rows = rows_from_fragments([stream(lab, [1.0, 1.0]), stream(lab, [1.0])], CPU)
    assert RewardScale().returns(rows, 0.5).tolist() == [1.0, 1.5, 1.75]


def test_a_finished_episode_leaves_nothing_behind(lab: Any) -> None:
    scale = RewardScale()
    scale.returns(rows_from_fragments([stream(lab, [8.0], terminated=[0])], CPU), 0.5)
    assert scale.returns(rows_from_fragments([stream(lab, [1.0])], CPU), 0.5).tolist() == [1.0]


def test_rewards_are_divided_by_the_deviation_of_returns(lab: Any) -> None:
    from outrider.learner.ranks import OneRank

    policy = lab.policy(normalize_rewards=True)
    rows = rows_from_fragments([stream(lab, [1.0, 1.0, 4.0, 2.0], terminated=[1])], CPU)
    scaled = RewardScale().scale(policy, rows, OneRank(), 0.5)
    expected = np.array([1.0, 1.0, 4.0, 2.0]) / np.std([1.0, 1.5, 4.0, 4.0])
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)


def test_rewards_stay_as_they_are_without_a_normaliser(lab: Any) -> None:
    from outrider.learner.ranks import OneRank

    rows = rows_from_fragments([stream(lab, [1.0, 3.0])], CPU)
    assert RewardScale().scale(lab.policy(), rows, OneRank(), 0.5).tolist() == [1.0, 3.0]
