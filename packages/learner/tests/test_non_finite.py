"""A step that is not finite leaves no trace, is counted, and cannot go on for ever."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import PPOLearner, PPOSettings, TrainingDivergedError
from outrider.learner.ranks import OneRank
from outrider.learner.training.gradient_step import GradientStep

ONE_STEP = PPOSettings(minibatch_size=64, num_epochs=1)


class PoisonedLoss(torch.autograd.Function):
    """Passes numbers on and makes their gradient nan."""

    @staticmethod
    def forward(ctx: Any, numbers: torch.Tensor) -> torch.Tensor:
        return numbers.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return torch.full_like(gradients[0], torch.nan)


def bad_fragment(lab: Any, policy: Any) -> Any:
    """Rewards so large that their squared errors overflow."""
    fragment = lab.fragment(policy, [64])
    return replace(fragment, rewards=np.full(64, 1e30, np.float32))


def same(a: Any, b: Any) -> bool:
    """Compare two state trees bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(np.array_equal(a, b))


def test_a_loss_that_is_not_finite_changes_neither_weights_nor_the_optimizer(lab: Any) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, ONE_STEP, seed=0)
    learner.update([lab.fragment(policy, [64])])
    before = learner.get_state()
    metrics = learner.update([bad_fragment(lab, policy)])
    after = learner.get_state()
    assert metrics["skipped_steps"] == metrics["num_steps"] == 1.0
    assert same(before["module"], after["module"])
    assert same(before["optimizer"], after["optimizer"])


def test_what_overflows_although_the_rows_are_finite_is_said_when_it_begins(
    lab: Any, caplog: pytest.LogCaptureFixture
) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, replace(ONE_STEP, num_epochs=3), seed=0)
    for _ in range(2):
        learner.update([bad_fragment(lab, policy)])
    (sentence,) = caplog.messages
    assert sentence.startswith(
        "gradient steps are skipped because value loss became inf: lower lr, set grad_clip"
    )


def test_a_gradient_that_is_not_finite_is_skipped_although_the_loss_is_finite(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, ONE_STEP, seed=0)
    learner.update([lab.fragment(policy, [64])])
    before = learner.get_state()
    whole = policy.forward
    monkeypatch.setattr(policy, "forward", lambda rows: (whole(rows)[0], PoisonedLoss.apply(whole(rows)[1])))
    assert learner.update([lab.fragment(policy, [64])])["skipped_steps"] == 1.0
    after = learner.get_state()
    assert same(before["module"], after["module"])
    assert same(before["optimizer"], after["optimizer"])
    assert after["skipped_steps"]["first_bad"] == (
        "at update 1, grad norm became nan: lower lr, set grad_clip, or normalise observations and rewards"
    )


def test_a_statistic_that_is_not_finite_is_enough() -> None:
    layer = torch.nn.Linear(3, 3)
    step = GradientStep(layer, OneRank(), grad_clip=0.5, adam_epsilon=1e-5)
    step.set_learning_rate(0.1)
    before = layer.weight.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.ones(3, 3), torch.ones(3)
    step.take(torch.tensor([0.0, torch.nan]))
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("grad_clip", [None, 0.5])
def test_one_bad_number_among_the_gradients_is_enough(bad: float, grad_clip: float | None) -> None:
    layer = torch.nn.Linear(3, 3)
    step = GradientStep(layer, OneRank(), grad_clip=grad_clip, adam_epsilon=1e-5)
    step.set_learning_rate(0.1)
    before = layer.weight.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.ones(3, 3), torch.ones(3)
    layer.weight.grad[1, 2] = bad
    assert not step.take(torch.zeros(2)).isfinite().all()
    assert torch.equal(layer.weight, before)


def spoiled(lab: Any, policy: Any, column: str) -> Any:
    """Make a fragment in which one number of a column is nan."""
    fragment = lab.fragment(policy, [32, 32], end_probability=0.0)
    array = fragment.rewards if column == "rewards" else getattr(fragment, column)[""]
    array[-1] = np.nan
    return fragment


@pytest.mark.parametrize("column", ["observations", "next_observations", "rewards"])
@pytest.mark.parametrize("use_lstm", [False, True])
def test_one_bad_row_costs_the_steps_of_its_update_and_is_named(
    lab: Any, caplog: pytest.LogCaptureFixture, column: str, use_lstm: bool
) -> None:
    policy = lab.policy(normalize_observations=True, normalize_rewards=True, use_lstm=use_lstm)
    learner = PPOLearner(policy, ONE_STEP, seed=0)
    learner.update([lab.fragment(policy, [64])])
    before = learner.get_state()
    assert learner.update([spoiled(lab, policy, column)])["skipped_steps"] == 1.0
    assert f"column {column} holds nan in 1 of" in caplog.text
    assert same(before["optimizer"], learner.get_state()["optimizer"])
    assert learner.update([lab.fragment(policy, [64])])["skipped_steps"] == 0.0
    assert all(np.isfinite(tensor).all() for tensor in learner.publish().tensors.values())


def test_a_run_of_bad_rows_ends_in_a_sentence_that_names_the_column(lab: Any) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, replace(ONE_STEP, max_consecutive_skipped_steps=0), seed=0)
    with pytest.raises(TrainingDivergedError, match=r"column rewards holds nan .*: mend the environment"):
        learner.update([spoiled(lab, policy, "rewards")])


def test_training_goes_on_after_a_skip(lab: Any) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, ONE_STEP, seed=0)
    learner.update([bad_fragment(lab, policy)])
    before = learner.get_state()["module"]
    assert learner.update([lab.fragment(policy, [64])])["skipped_steps"] == 0.0
    assert not same(before, learner.get_state()["module"])
    assert all(np.isfinite(tensor).all() for tensor in learner.publish().tensors.values())


def test_a_run_of_skipped_steps_ends_in_a_sentence_that_names_the_first_bad_number(lab: Any) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, replace(ONE_STEP, max_consecutive_skipped_steps=2), seed=0)
    learner.update([lab.fragment(policy, [64])])
    for _ in range(2):
        learner.update([bad_fragment(lab, policy)])
    sentence = "3 gradient steps in a row were skipped; first, at update 1, value loss became inf: lower lr"
    with pytest.raises(TrainingDivergedError, match=sentence):
        learner.update([bad_fragment(lab, policy)])


def test_a_good_step_ends_a_run(lab: Any) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, replace(ONE_STEP, max_consecutive_skipped_steps=1), seed=0)
    for _ in range(3):
        learner.update([bad_fragment(lab, policy)])
        learner.update([lab.fragment(policy, [64])])


def test_a_module_that_puts_out_nan_is_named(lab: Any) -> None:
    policy = lab.policy()
    learner = PPOLearner(policy, replace(ONE_STEP, max_consecutive_skipped_steps=0), seed=0)
    fragment = lab.fragment(policy, [64])
    with torch.no_grad():
        policy.network.value_head.weight.fill_(torch.nan)
    with pytest.raises(TrainingDivergedError, match="at update 0, the module's value predictions became nan"):
        learner.update([fragment])
