"""IMPALA's loss is that of its paper, on any rows."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import IMPALALearner, IMPALASettings

ONE_STEP = IMPALASettings(lr=0.0, entropy_coeff=0.3, vf_loss_coeff=0.7, grad_clip=None)


def test_the_losses_of_one_row_are_those_of_the_formula(lab: Any) -> None:
    policy = lab.policy()
    fragment = lab.fragment(policy, [1], end_probability=0.0)
    acted = fragment.action_log_probs - np.float32(math.log(1.0 / 1.5))  # the ratio is then 2/3
    fragment = replace(fragment, action_log_probs=acted)
    parameters, values = policy({"": torch.from_numpy(fragment.observations[""])})
    _, next_values = policy({"": torch.from_numpy(fragment.next_observations[""])})
    log_probs = parameters.log_softmax(-1)[0].detach()
    difference = float(fragment.rewards[0]) + 0.99 * next_values.item() - values.item()
    metrics = IMPALALearner(policy, ONE_STEP, seed=0).update([fragment])
    log_prob = log_probs[int(fragment.actions[""][0])].item()
    assert metrics["policy_loss"] == pytest.approx(-log_prob * difference * 2 / 3, rel=1e-4)
    assert metrics["value_loss"] == pytest.approx((difference * 2 / 3) ** 2, rel=1e-4)
    assert metrics["entropy"] == pytest.approx(-float((log_probs.exp() * log_probs).sum()), rel=1e-5)


def test_no_gradient_flows_through_advantages_and_targets(lab: Any) -> None:
    """A constant that is added to all values moves them towards targets that stay."""
    policy = lab.policy()
    fragment = lab.fragment(policy, [1], end_probability=0.0)
    learner = IMPALALearner(policy, ONE_STEP, seed=0)
    observations = (fragment.observations, fragment.next_observations)
    with torch.no_grad():
        value, next_value = (policy({"": torch.from_numpy(o[""])})[1].item() for o in observations)
    target = float(fragment.rewards[0]) + 0.99 * next_value
    learner.update([fragment])
    moments = learner.get_state()["optimizer"]["first_moments"]
    gradient = 10.0 * float(moments["network.value_head.bias"][0])
    assert gradient == pytest.approx(0.7 * 2.0 * (value - target), rel=1e-4)


def test_a_ratio_above_its_threshold_is_counted(lab: Any) -> None:
    policy = lab.policy()
    fragment = lab.fragment(policy, [4])
    acted = fragment.action_log_probs + np.array([-1.0, 1.0, -1.0, 1.0], np.float32)
    metrics = IMPALALearner(policy, ONE_STEP, seed=0).update([replace(fragment, action_log_probs=acted)])
    assert metrics["clip_fraction"] == 0.5


def test_none_is_no_threshold() -> None:
    settings = IMPALASettings(vtrace_clip_rho_threshold=None, vtrace_clip_pg_rho_threshold=2.0)
    assert settings.ratio_bounds() == (math.inf, 1.0, 2.0)


def test_epochs_and_minibatches_of_whole_streams_are_counted(lab: Any) -> None:
    policy = lab.policy()
    learner = IMPALALearner(policy, replace(ONE_STEP, num_epochs=2, minibatch_size=20), seed=0)
    metrics = learner.update([lab.fragment(policy, [10] * 6)])
    assert (metrics["num_epochs"], metrics["num_steps"]) == (2.0, 6.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("train_batch_size_per_learner", 0),
        ("num_epochs", 1.5),
        ("minibatch_size", 0),
        ("gamma", 1.1),
        ("vtrace_clip_rho_threshold", 0.0),
        ("grad_clip", -1.0),
        ("max_staleness", -1),
        ("learner_queue_size", 0),
        ("min_time_s_per_iteration", -0.1),
        ("lr", math.nan),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is .*; give "):
        IMPALASettings(**{field: value})
