"""What PPO does besides what every learner does; that it learns is in test_every_learner.py."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import PPOLearner, PPOSettings
from outrider.wire import DiscreteSpace

FAST = PPOSettings(minibatch_size=32, num_epochs=4, lr=3e-3)


def rewarded_for_action_one(fragment: Any) -> Any:
    """Pay 1 for action 1, in episodes of one step."""
    everywhere = np.ones(fragment.num_rows, bool)
    return replace(
        fragment,
        rewards=(fragment.actions[""] == 1).astype(np.float32),
        terminated=everywhere,
        truncated=~everywhere,
        next_rows=fragment.next_rows[:0],
        next_observations={"": fragment.next_observations[""][:0]},
    )


def test_metrics_are_floats_with_the_documented_names(lab: Any) -> None:
    from outrider.learner import metrics as documented

    policy = lab.policy()
    metrics = PPOLearner(policy, FAST, seed=0).update([lab.fragment(policy, [40, 24])])
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    names = [line.split()[0] for line in (documented.__doc__ or "").splitlines()[2:] if line[:1].isalpha()]
    assert sorted(metrics) == sorted(names[: names.index("The")])
    assert metrics["num_env_steps_trained"] == 64.0
    assert metrics["num_steps"] == 8.0


def test_before_the_first_step_ratios_are_one(lab: Any) -> None:
    policy = lab.policy()
    settings = replace(FAST, num_epochs=1, minibatch_size=64)
    metrics = PPOLearner(policy, settings, seed=0).update([lab.fragment(policy, [40, 24])])
    assert metrics["clip_fraction"] == 0.0
    assert metrics["mean_kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["policy_loss"] == pytest.approx(0.0, abs=1e-6)


def test_an_epoch_takes_each_row_once_in_parts_that_differ_by_one_row(lab: Any) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, replace(FAST, num_epochs=1, minibatch_size=30), seed=0)
    seen: list[int] = []
    step = learner._step
    learner._step = lambda minibatch, *rest: (seen.append(minibatch.num_rows), step(minibatch, *rest))[1]  # type: ignore[method-assign,func-returns-value]
    learner.update([lab.fragment(policy, [71])])
    assert seen == [24, 24, 23]


def test_an_update_stops_early_once_the_policy_has_moved_too_far(lab: Any) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, replace(FAST, lr=0.1, num_epochs=10, early_stop_kl=1e-4), seed=0)
    assert learner.update([lab.fragment(policy, [64])])["num_epochs"] == 1.0


def test_passes_that_estimate_anew_are_updates_of_one_pass_each(lab: Any) -> None:
    anew = PPOLearner(lab.policy(), replace(FAST, num_epochs=3, recompute_advantages=True), seed=0)
    fragment = lab.fragment(anew.policy, [40, 24])
    anew.update([fragment])
    each = PPOLearner(lab.policy(), replace(FAST, num_epochs=1), seed=0)
    for _ in range(3):
        each.update([fragment])
    for name, tensor in each.policy.state_dict().items():
        torch.testing.assert_close(anew.policy.state_dict()[name], tensor)


@pytest.mark.parametrize(("recompute", "low", "high"), [(False, -2.0, 0.0), (True, -11.0, -9.0)])
def test_values_of_what_is_always_cut_come_true_in_one_update_where_passes_estimate_anew(
    lab: Any, recompute: bool, low: float, high: float
) -> None:
    """A reward of -1 in each step for ever is worth -1 / (1 - 0.9) = -10."""
    chosen = replace(FAST, gamma=0.9, num_epochs=60, minibatch_size=64, recompute_advantages=recompute)
    learner = PPOLearner(lab.policy(), replace(chosen, lr=0.02, grad_clip=None), seed=0)
    fragment = lab.fragment(learner.policy, [1] * 64, end_probability=0.0)
    learner.update([replace(fragment, rewards=np.full(64, -1.0, np.float32))])
    _, value_N = learner.policy({"": torch.from_numpy(fragment.observations[""])})
    assert low < value_N.mean().item() < high


@pytest.mark.parametrize("use_lstm", [False, True])
def test_estimating_anew_scales_rewards_and_limits_values_as_before(lab: Any, use_lstm: bool) -> None:
    module = {"use_lstm": use_lstm, "normalize_rewards": True}
    still = replace(FAST, lr=0.0, vf_clip_param=0.1, use_kl_loss=True)
    metrics = []
    for recompute in (False, True):
        learner = PPOLearner(lab.policy(**module), replace(still, recompute_advantages=recompute), seed=0)
        metrics.append(learner.update([lab.fragment(learner.policy, [40, 24])]))
    for name in ("value_loss", "policy_loss", "mean_kl", "explained_variance"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], abs=1e-6)


def test_the_kl_coefficient_rises_when_the_policy_moves_too_far_and_falls_when_too_little(lab: Any) -> None:
    far = PPOLearner(lab.policy(), replace(FAST, lr=0.1, use_kl_loss=True, kl_target=1e-6), seed=0)
    assert far.update([lab.fragment(far.policy, [64])])["kl_coeff"] == pytest.approx(0.3)
    near = PPOLearner(lab.policy(), replace(FAST, lr=0.0, use_kl_loss=True, kl_target=1.0), seed=0)
    assert near.update([lab.fragment(near.policy, [64])])["kl_coeff"] == pytest.approx(0.1)


def test_the_divergence_loss_holds_the_policy_back(lab: Any) -> None:
    def moved(kl_coeff: float) -> float:
        settings = replace(FAST, use_kl_loss=True, kl_coeff=kl_coeff)
        learner = PPOLearner(lab.policy(), settings, seed=0)
        return learner.update([lab.fragment(learner.policy, [64])])["mean_kl"]

    assert moved(100.0) < 0.3 * moved(0.0)


def test_the_entropy_bonus_keeps_the_policy_undecided(lab: Any) -> None:
    def entropy(coefficient: float) -> float:
        policy = lab.policy()
        learner = PPOLearner(policy, replace(FAST, entropy_coeff=coefficient, lr=0.01), seed=0)
        for seed in range(5):
            metrics = learner.update([rewarded_for_action_one(lab.fragment(policy, [64], seed=seed))])
        return metrics["entropy"]

    assert entropy(0.0) < 0.65 < entropy(10.0)


def test_a_learning_rate_of_zero_changes_nothing(lab: Any) -> None:
    policy = lab.policy()
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    PPOLearner(policy, replace(FAST, lr=0.0), seed=0).update([lab.fragment(policy, [64])])
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.state_dict().items())


def test_the_gradient_is_clipped_to_its_limit(lab: Any) -> None:
    def first_moment(grad_clip: float | None) -> float:
        learner = PPOLearner(
            lab.policy(), replace(FAST, grad_clip=grad_clip, num_epochs=1, minibatch_size=64), seed=0
        )
        learner.update([lab.fragment(learner.policy, [64])])
        moments = learner.get_state()["optimizer"]["first_moments"].values()
        return 10.0 * math.sqrt(sum(float((moment**2).sum()) for moment in moments))

    free = first_moment(None)
    assert first_moment(free / 4) == pytest.approx(free / 4, rel=1e-5)
    assert first_moment(free * 4) == pytest.approx(free, rel=1e-5)


def test_a_network_with_unused_parameters_learns(lab: Any) -> None:
    policy = lab.policy(action_space=DiscreteSpace(num_values=3))
    policy.network.spare = torch.nn.Linear(2, 2)
    before = policy.network.spare.weight.clone()
    PPOLearner(policy, FAST, seed=0).update([lab.fragment(policy, [64])])
    assert torch.equal(policy.network.spare.weight, before)


@pytest.mark.parametrize("use_lstm", [False, True])
def test_streams_without_rows_are_left_aside(lab: Any, use_lstm: bool) -> None:
    policy = lab.policy(use_lstm=use_lstm, normalize_rewards=True)
    fragment = lab.fragment(policy, [5, 7])
    old = fragment.streams
    streams = replace(
        old,
        lengths=np.array([5, 0, 7]),
        policy=np.zeros(3, np.int32),
        environment=np.arange(3, dtype=np.int32),
        agent=np.zeros(3, np.int32),
        state={name: column[[0, 0, 1]] for name, column in old.state.items()},
    )
    with_gap = PPOLearner(policy, FAST, seed=0).update([replace(fragment, streams=streams)])
    other = lab.policy(use_lstm=use_lstm, normalize_rewards=True)
    without = PPOLearner(other, FAST, seed=0).update([fragment])
    assert with_gap["value_loss"] == pytest.approx(without["value_loss"])
