"""APPO clips against a target network, which follows the policy at its own pace."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import APPOLearner, APPOSettings
from outrider.learner.training.appo import follow

ONCE = APPOSettings(
    circular_buffer_num_batches=1,
    circular_buffer_iterations_per_batch=1,
    normalize_advantages=False,
    target_network_update_freq=1000,
    lr=0.01,
)


def weights(policy: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


@pytest.mark.parametrize(("acted", "expected"), [(0.5, 1.0), (2.0, 1.0), (4.0, 0.5)])
def test_the_surrogate_of_one_row_is_that_of_the_formula(lab: Any, acted: float, expected: float) -> None:
    """`acted` is mu / pi'; before the first step pi is pi'."""
    policy = lab.policy()
    fragment = lab.fragment(policy, [1], end_probability=0.0)
    fragment = replace(
        fragment,
        action_log_probs=fragment.action_log_probs + np.float32(math.log(acted)),
        rewards=np.full(1, 5.0, np.float32),
    )
    _, value = policy({"": torch.from_numpy(fragment.observations[""])})
    _, next_value = policy({"": torch.from_numpy(fragment.next_observations[""])})
    difference = 5.0 + 0.99 * next_value.item() - value.item()
    metrics = APPOLearner(policy, ONCE, seed=0).update([fragment])
    advantage = min(1.0, 1.0 / acted) * difference
    assert metrics["policy_loss"] == pytest.approx(-expected * advantage, rel=1e-4)
    assert metrics["value_loss"] == pytest.approx(advantage**2, rel=1e-4)
    assert metrics["mean_kl"] == pytest.approx(0.0, abs=1e-6)


def test_the_target_network_stays_until_it_is_due(lab: Any) -> None:
    learner = APPOLearner(lab.policy(), replace(ONCE, target_network_update_freq=3), seed=0)
    before = weights(learner.policy)
    for _ in range(2):
        learner.update([lab.fragment(learner.policy, [20])])
    assert torch.equal(weights(learner._target), before)
    learner.update([lab.fragment(learner.policy, [20])])
    assert torch.equal(weights(learner._target), weights(learner.policy))
    assert not torch.equal(weights(learner._target), before)


def test_a_target_network_follows_by_a_share_and_takes_statistics_over(lab: Any) -> None:
    target, source = (lab.policy(seed=seed, normalize_observations=True) for seed in (0, 1))
    source.observation_normalizer.merge(source.observation_normalizer.measure({"": torch.randn(9, 3)}))
    halfway = (weights(target) + weights(source)) / 2
    follow(target, source, 0.5)
    torch.testing.assert_close(weights(target), halfway)
    for behind, ahead in zip(target.buffers(), source.buffers(), strict=True):
        assert torch.equal(behind, ahead)


def test_targets_come_from_the_target_network(lab: Any) -> None:
    learner = APPOLearner(lab.policy(), replace(ONCE, lr=0.0), seed=0)
    fragment = lab.fragment(learner.policy, [20])
    calm = learner.update([fragment])["value_loss"]
    with torch.no_grad():
        learner._target.network.value_head.bias += 10.0
    assert learner.update([fragment])["value_loss"] > calm + 1.0


def test_a_batch_is_used_as_often_as_set_and_counted_once(lab: Any) -> None:
    settings = replace(ONCE, circular_buffer_num_batches=2, circular_buffer_iterations_per_batch=2)
    learner = APPOLearner(lab.policy(), settings, seed=0)
    metrics = [learner.update([lab.fragment(learner.policy, [20 + n])]) for n in range(3)]
    assert [one["num_steps"] for one in metrics] == [1.0, 2.0, 2.0]
    assert [one["num_env_steps_trained"] for one in metrics] == [20.0, 21.0, 22.0]
    assert learner.publish().version == 3


def test_the_kl_coefficient_changes_when_the_target_network_does(lab: Any) -> None:
    settings = replace(ONCE, target_network_update_freq=2, use_kl_loss=True, kl_target=1e-9, lr=0.1)
    learner = APPOLearner(lab.policy(), settings, seed=0)
    coefficients = [learner.update([lab.fragment(learner.policy, [64])])["kl_coeff"] for _ in range(4)]
    assert coefficients == pytest.approx([0.2, 0.3, 0.3, 0.45])
    near = APPOLearner(lab.policy(), replace(settings, lr=0.0, kl_target=1.0), seed=0)
    assert [near.update([lab.fragment(near.policy, [64])])["kl_coeff"] for _ in range(2)] == [0.2, 0.1]


def test_the_divergence_loss_holds_the_policy_near_the_target_network(lab: Any) -> None:
    def moved(kl_coeff: float) -> float:
        settings = replace(ONCE, use_kl_loss=True, kl_coeff=kl_coeff, lr=1e-2, entropy_coeff=0.0)
        learner = APPOLearner(lab.policy(), replace(settings, clip_param=100.0), seed=0)
        fragment = lab.fragment(learner.policy, [64])
        return [learner.update([fragment])["mean_kl"] for _ in range(10)][-1]

    assert moved(100.0) < 0.3 * moved(0.0)


def test_settings_of_the_divergence_are_ignored_without_it() -> None:
    assert APPOSettings(kl_target=0.5).ignored() == ["kl_target is ignored; set use_kl_loss=True to use it"]
    assert not APPOSettings(kl_target=0.5, use_kl_loss=True).ignored()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clip_param", -0.1),
        ("target_worker_clipping", 0.0),
        ("target_network_update_freq", 0),
        ("tau", 0.0),
        ("tau", 1.1),
        ("circular_buffer_num_batches", 0),
        ("circular_buffer_iterations_per_batch", 0),
        ("kl_coeff", -1.0),
        ("lambda_", 2.0),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is .*; give "):
        APPOSettings(**{field: value})
