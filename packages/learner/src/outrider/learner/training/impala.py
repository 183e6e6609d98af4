"""IMPALA: from fragments of older policies to new weights. Axes: N rows of a step, K statistics."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from outrider.learner.learner import StateTree
from outrider.learner.ranks import Ranks
from outrider.learner.rows.fragment_rows import Rows
from outrider.learner.rows.row_orders import RowOrders
from outrider.learner.training import ppo_loss
from outrider.learner.training.advantage_scale import explained_variance, standardise
from outrider.learner.training.impala_settings import IMPALASettings
from outrider.learner.training.schedule import value_at
from outrider.learner.training.stopwatch import Stopwatch
from outrider.learner.training.streams import StreamParts, forward_streams
from outrider.learner.training.training_state import TrainingState
from outrider.learner.training.vtrace import vtrace
from outrider.rlmodule import Policy
from outrider.wire import Fragment, Weights


class IMPALALearner:
    """Trains a policy by policy gradients that V-trace corrects; obeys `Learner`.

        L = 1/N sum_t [ -log pi(a_t | s_t) * A_t  +  vf_loss_coeff * (V(s_t) - v_t)^2
                        - entropy_coeff * H(pi(. | s_t)) ]

    with A and v as `outrider.learner.training.vtrace` computes them, in every step anew, from the ratios and
    values of the weights at hand; no gradient flows through them. N counts the rows of all ranks.

    The policy is moved to `device` and changed in place. What is shuffled, with more than one
    minibatch, are the rank's own streams. Espeholt et al. 2018 (arXiv 1802.01561), section 4.2.
    """

    def __init__(
        self,
        policy: Policy,
        settings: IMPALASettings,
        *,
        seed: int,
        ranks: Ranks | None = None,
        device: torch.device | None = None,
        orders: RowOrders | None = None,
    ) -> None:
        self.settings = settings
        self._kept = TrainingState(policy, settings, seed=seed, ranks=ranks, device=device, orders=orders)
        self.policy, self._ranks = self._kept.policy, self._kept.ranks

    def load(self, fragments: Sequence[Fragment]) -> Rows:
        return self._kept.loader.load(fragments)

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: Rows) -> dict[str, float]:
        """Train on `rows`; see `Learner` and, for what comes back, `outrider.learner.metrics`."""
        clock = Stopwatch()
        learning_rate = self._kept.begin_update(rows)
        entropy_coeff = value_at(self.settings.entropy_coeff, self._kept.num_env_steps)
        rows = replace(rows, reward_N=self._kept.scaled_rewards(rows))
        parts = StreamParts(rows, self.settings.minibatch_size, self._ranks)
        record = self._kept.record_steps()
        for _ in range(self.settings.num_epochs):
            for part, num_rows in parts.shuffled(self._kept.orders):
                statistics, value_N, target_N = self._step(part, num_rows, parts.ranks, entropy_coeff)
                record.add(statistics, num_rows)
            record.end_epoch(rows.first_bad)
        clock.lap("train_s")
        self._kept.end_update(rows, parts.num_rows)
        clock.lap("normalize_s")
        metrics = record.metrics() | {
            "explained_variance": float(explained_variance(value_N, target_N, parts.ranks)),
            "learning_rate": learning_rate,
            "num_env_steps_trained": float(parts.num_rows),
            "gather_s": rows.gather_s,
        }
        return metrics | clock.laps

    def publish(self) -> Weights:
        return self._kept.publish()

    def get_state(self) -> StateTree:
        return self._kept.get_state()

    def set_state(self, state: StateTree) -> None:
        self._kept.set_state(state)

    def _step(
        self, rows: Rows, num_rows: int, ranks: Ranks, entropy_coeff: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take one gradient step, or skip it.

        Returns its STEP_STATISTICS [K] without waiting for them, the values [N], and what they should be.
        """
        settings, bounds = self.settings, self.settings.ratio_bounds()
        outputs = forward_streams(self.policy, rows)
        log_prob_N, entropy_N = self.policy.distribution.log_prob_and_entropy(
            outputs.parameters, rows.actions
        )
        log_ratio_N = log_prob_N.detach() - rows.log_prob_N
        ratio_N = log_ratio_N.exp()
        target_N, advantage_N = vtrace(
            rows.reward_N,
            outputs.value_N.detach(),
            outputs.next_value_N,
            rows.terminated_N,
            rows.followed_N,
            ratio_N,
            discount=settings.gamma,
            trace_decay=settings.lambda_,
            bounds=bounds,
        )
        if settings.normalize_advantages:
            advantage_N = standardise(advantage_N, ranks)
        policy_loss = -(log_prob_N * advantage_N).sum()
        value_loss = ppo_loss.squared_error(outputs.value_N, target_N).sum()
        entropy = entropy_N.sum()
        loss = policy_loss + settings.vf_loss_coeff * value_loss - entropy_coeff * entropy
        (loss / num_rows).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            divergence = ppo_loss.divergence_estimate(log_ratio_N, ratio_N).sum()
            cut = (ratio_N > bounds.rho).sum()
            sums = torch.stack((policy_loss, value_loss, entropy, divergence, cut, loss))
            statistics = self._kept.gradient_step.take(sums / num_rows, ranks)
        return statistics, outputs.value_N.detach(), target_N
