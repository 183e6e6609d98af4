"""PPO: collects nothing, publishes what it learned. Axes: N rows of an update, B rows of a minibatch."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from outrider.learner import ppo_loss
from outrider.learner.advantage_scale import explained_variance, standardise
from outrider.learner.estimates import Estimates, estimate
from outrider.learner.gae import gae, next_values
from outrider.learner.gradient_step import GradientStep
from outrider.learner.learner import StateTree
from outrider.learner.metrics import STEP_STATISTICS
from outrider.learner.minibatches import Minibatch, MinibatchSource, Targets
from outrider.learner.non_finite import SkippedSteps
from outrider.learner.ppo_settings import PPOSettings
from outrider.learner.ranks import OneRank, Ranks
from outrider.learner.rows import Rows, rows_from_fragments
from outrider.learner.schedule import value_at
from outrider.rlmodule import Policy
from outrider.wire import Fragment, Weights


class PPOLearner:
    """Trains a policy by proximal policy optimisation; obeys `Learner`.

    The policy is moved to `device` and changed in place.
    """

    def __init__(
        self,
        policy: Policy,
        settings: PPOSettings,
        *,
        seed: int,
        ranks: Ranks | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.settings = settings
        self.policy = policy.to(device or torch.device("cpu"))
        self._device = device or torch.device("cpu")
        self._ranks: Ranks = OneRank() if ranks is None else ranks
        self._step = GradientStep(policy, settings, self._ranks)
        self._skipped = SkippedSteps(settings.max_consecutive_skipped_steps)
        self._generator = torch.Generator().manual_seed(seed)
        self._kl_coeff = settings.kl_coeff if settings.use_kl_loss else 0.0
        self._num_env_steps = 0
        self._num_updates = 0

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        start_s = time.perf_counter()
        rows = rows_from_fragments(fragments, self._device)
        gathered_s = time.perf_counter()
        estimates = estimate(self.policy, rows, max_seq_len=self.settings.max_seq_len)
        targets, variance = self._targets(rows, estimates)
        estimated_s = time.perf_counter()
        metrics = self._train(rows, targets, estimates)
        trained_s = time.perf_counter()
        self._num_updates += 1
        return metrics | {
            "explained_variance": variance,
            "num_env_steps_trained_total": float(self._num_env_steps),
            "gather_s": gathered_s - start_s,
            "estimate_s": estimated_s - gathered_s,
            "train_s": trained_s - estimated_s,
        }

    def publish(self) -> Weights:
        return self.policy.weights(self._num_updates)

    def get_state(self) -> StateTree:
        return {
            "fingerprint": self.policy.fingerprint(),
            "module": dict(self.policy.weights(self._num_updates).tensors),
            "optimizer": self._step.get_state(),
            "generator": self._generator.get_state().numpy().copy(),
            "kl_coeff": self._kl_coeff,
            "num_env_steps": self._num_env_steps,
            "num_updates": self._num_updates,
            "skipped_steps": self._skipped.get_state(),
        }

    def set_state(self, state: StateTree) -> None:
        self.policy.load_weights(
            Weights(version=state["num_updates"], fingerprint=state["fingerprint"], tensors=state["module"])
        )
        self._step.set_state(state["optimizer"])
        self._generator.set_state(torch.from_numpy(state["generator"].copy()))
        self._kl_coeff = float(state["kl_coeff"])
        self._num_env_steps = int(state["num_env_steps"])
        self._num_updates = int(state["num_updates"])
        self._skipped.set_state(state["skipped_steps"])

    def _targets(self, rows: Rows, estimates: Estimates) -> tuple[Targets, float]:
        value_N = estimates.value_N
        advantage_N = gae(
            rows.reward_N,
            value_N,
            next_values(value_N, rows.followed_N, rows.next_row_M, estimates.value_of_next_observation_M),
            rows.terminated_N,
            rows.followed_N,
            discount=self.settings.gamma,
            trace_decay=self.settings.lambda_,
        )
        target_N = advantage_N + value_N
        variance = explained_variance(value_N, target_N, self._ranks)
        if self.settings.normalize_advantages:
            advantage_N = standardise(advantage_N, self._ranks)
        parameters = estimates.parameters if rows.parameters is None else rows.parameters
        targets = Targets(
            advantage_N=advantage_N, value_N=value_N, value_target_N=target_N, parameters=parameters
        )
        return targets, variance

    def _train(self, rows: Rows, targets: Targets, estimates: Estimates) -> dict[str, float]:
        num_rows = int(self._ranks.sum(torch.tensor(len(rows))))
        settings, env_steps = self.settings, self._num_env_steps
        self._num_env_steps += num_rows
        learning_rate = value_at(settings.lr, env_steps)
        clip = value_at(settings.clip_param, env_steps)
        entropy_coeff = value_at(settings.entropy_coeff, env_steps)
        source = MinibatchSource(
            rows=rows, targets=targets, sequences=estimates.sequences, needs_parameters=settings.use_kl_loss
        )
        num_minibatches = math.ceil(num_rows / (settings.minibatch_size * self._ranks.size))
        if estimates.sequences is not None:
            num_minibatches = min(num_minibatches, len(estimates.sequences))
        self._step.set_learning_rate(learning_rate)
        epochs: list[Tensor] = []
        num_skipped = 0
        for epoch in range(settings.num_epochs):
            parts = source.shuffle(num_minibatches, self._generator)
            counts = self._ranks.sum(torch.tensor(source.num_rows(parts))).tolist()
            statistics = [
                self._minibatch(minibatch, count, clip, entropy_coeff)
                for minibatch, count in zip(source.take(parts), counts, strict=True)
            ]
            epochs.append(torch.stack(statistics).cpu())
            num_skipped += self._skipped.count(
                epochs[-1], update=self._num_updates, first_step=epoch * num_minibatches
            )
            if settings.early_stop_kl is not None and _mean(epochs[-1])["mean_kl"] > settings.early_stop_kl:
                break
        metrics = _mean(torch.cat(epochs)) | {"mean_kl": _mean(epochs[-1])["mean_kl"]}
        self._adapt_kl_coefficient(metrics["mean_kl"])
        del metrics["kl_loss"], metrics["total_loss"]
        return metrics | {
            "learning_rate": learning_rate,
            "kl_coeff": self._kl_coeff,
            "num_epochs": float(len(epochs)),
            "num_steps": float(len(epochs) * num_minibatches),
            "skipped_steps": float(num_skipped),
            "num_skipped_steps_total": float(self._skipped.total),
            "num_env_steps_trained": float(num_rows),
        }

    def _minibatch(self, minibatch: Minibatch, num_rows: int, clip: float, entropy_coeff: float) -> Tensor:
        """Take one gradient step, or skip it; returns its STEP_STATISTICS without waiting for them."""
        settings = self.settings
        parameters, value_B = _forward(self.policy, minibatch)
        log_prob_B, entropy_B = self.policy.distribution.log_prob_and_entropy(parameters, minibatch.actions)
        log_ratio_B = log_prob_B - minibatch.log_prob_B
        ratio_B = log_ratio_B.exp()
        policy_loss = ppo_loss.surrogate_sum(ratio_B, minibatch.advantage_B, clip)
        if settings.vf_clip_param is None:
            value_loss = ppo_loss.squared_error_sum(value_B, minibatch.value_target_B)
        else:
            value_loss = ppo_loss.clipped_squared_error_sum(
                value_B, minibatch.value_B, minibatch.value_target_B, settings.vf_clip_param
            )
        total = policy_loss + settings.vf_loss_coeff * value_loss
        entropy = entropy_B.sum()
        if entropy_coeff:
            total = total - entropy_coeff * entropy
        kl_loss = None
        if minibatch.parameters is not None:
            kl_loss = self.policy.distribution.kl(minibatch.parameters, parameters).sum()
            total = total + self._kl_coeff * kl_loss
        total = total / num_rows
        total.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            divergence = (
                ppo_loss.divergence_estimate_sum(log_ratio_B, ratio_B) if kl_loss is None else kl_loss
            )
            sums = torch.stack(
                (
                    policy_loss,
                    value_loss,
                    entropy,
                    divergence,
                    ppo_loss.clipped_count(ratio_B, clip),
                    divergence if kl_loss is not None else torch.zeros_like(divergence),
                )
            )
            return self._step.take(torch.cat((sums / num_rows, total[None])))

    def _adapt_kl_coefficient(self, mean_kl: float) -> None:
        if not self.settings.use_kl_loss:
            return
        if mean_kl > 2.0 * self.settings.kl_target:
            self._kl_coeff *= 1.5
        elif mean_kl < 0.5 * self.settings.kl_target:
            self._kl_coeff *= 0.5


def _forward(policy: Policy, minibatch: Minibatch) -> tuple[Tensor, Tensor]:
    """Return action parameters [B, k] and values [B] of rows that are no padding."""
    sequences = minibatch.sequences
    if sequences is None:
        parameters, value_B = policy(minibatch.observations)
        return parameters, value_B
    parameters, values = policy.forward_sequence(minibatch.observations, sequences.state, sequences.starts_QT)
    parameters, value_B = parameters.flatten(0, 1), values.flatten()
    if sequences.slot_B is None:
        return parameters, value_B
    return parameters.index_select(0, sequences.slot_B), value_B.index_select(0, sequences.slot_B)


def _mean(statistics: Tensor) -> dict[str, float]:
    """Average steps that were taken; nan when all were skipped."""
    taken = statistics[statistics.isfinite().all(1)].double()
    return dict(zip(STEP_STATISTICS, taken.mean(0).tolist(), strict=True))
