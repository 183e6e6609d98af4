"""PPO: from fragments to new weights. Axes: N rows of an update, B rows of a minibatch, K statistics."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from outrider.learner.learner import StateTree
from outrider.learner.ranks import Ranks
from outrider.learner.rows.fragment_rows import Rows, heard
from outrider.learner.rows.minibatches import Minibatch, MinibatchSource, Targets
from outrider.learner.rows.row_orders import RowOrders
from outrider.learner.training.advantage_scale import explained_variance, standardise
from outrider.learner.training.estimates import Estimates, estimate
from outrider.learner.training.gae import gae, next_values
from outrider.learner.training.kl_coefficient import adapted_kl_coeff
from outrider.learner.training.ppo_loss import Coefficients, ppo_loss
from outrider.learner.training.ppo_settings import PPOSettings
from outrider.learner.training.schedule import value_at
from outrider.learner.training.stopwatch import Stopwatch
from outrider.learner.training.training_state import TrainingState
from outrider.rlmodule import Policy
from outrider.wire import Fragment, Weights


class PPOLearner:
    """Trains a policy by proximal policy optimisation; obeys `Learner`.

    The policy is moved to `device` and changed in place. Each rank has a seed of its own or shares
    one; what it shuffles are its own rows.
    """

    def __init__(
        self,
        policy: Policy,
        settings: PPOSettings,
        *,
        seed: int,
        ranks: Ranks | None = None,
        device: torch.device | None = None,
        orders: RowOrders | None = None,
    ) -> None:
        self.settings = settings
        self._kept = TrainingState(policy, settings, seed=seed, ranks=ranks, device=device, orders=orders)
        self.policy, self._ranks = self._kept.policy, self._kept.ranks
        self._kl_coeff = settings.kl_coeff if settings.use_kl_loss else 0.0

    def load(self, fragments: Sequence[Fragment]) -> Rows:
        return self._kept.loader.load(fragments)

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: Rows) -> dict[str, float]:
        """Train on `rows`; see `Learner` and, for what comes back, `outrider.learner.metrics`."""
        clock = Stopwatch()
        learning_rate = self._kept.begin_update(rows)
        rows = replace(rows, reward_N=self._kept.scaled_rewards(rows))
        estimates = self._estimate(rows)
        targets = self._targets(rows, estimates)
        variance = float(
            explained_variance(targets.value_N, targets.value_target_N, heard(self._ranks, rows))
        )
        clock.lap("estimate_s")
        metrics = self._train(rows, targets, estimates)
        clock.lap("train_s")
        self._kept.end_update(rows, int(metrics["num_env_steps_trained"]))
        clock.lap("normalize_s")
        values = {"explained_variance": variance, "learning_rate": learning_rate, "gather_s": rows.gather_s}
        return metrics | values | clock.laps

    def publish(self) -> Weights:
        return self._kept.publish()

    def get_state(self) -> StateTree:
        return self._kept.get_state(kl_coeff=self._kl_coeff)

    def set_state(self, state: StateTree) -> None:
        self._kept.set_state(state, of_the_algorithm=("kl_coeff",))
        self._kl_coeff = float(state["kl_coeff"])

    def _estimate(self, rows: Rows) -> Estimates:
        return estimate(self.policy, rows, max_seq_len=self.settings.max_seq_len)

    def _targets(self, rows: Rows, estimates: Estimates) -> Targets:
        """Estimate advantages and what the values should have been."""
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
        if self.settings.normalize_advantages:
            advantage_N = standardise(advantage_N, heard(self._ranks, rows))
        parameters = estimates.parameters if rows.parameters is None else rows.parameters
        return Targets(
            advantage_N=advantage_N, value_N=value_N, value_target_N=target_N, parameters=parameters
        )

    def _train(self, rows: Rows, targets: Targets, estimates: Estimates) -> dict[str, float]:
        """Take all gradient steps of an update."""
        settings = self.settings
        source = MinibatchSource(
            rows=rows,
            targets=targets,
            sequences=estimates.sequences,
            needs_parameters=settings.use_kl_loss,
            ranks=heard(self._ranks, rows),
        )
        coefficients = Coefficients(
            clip=value_at(settings.clip_param, self._kept.num_env_steps),
            vf_clip_param=settings.vf_clip_param,
            vf_loss_coeff=settings.vf_loss_coeff,
            entropy_coeff=value_at(settings.entropy_coeff, self._kept.num_env_steps),
            kl_coeff=self._kl_coeff,
        )
        num_minibatches = source.num_minibatches(settings.minibatch_size)
        cause = rows.first_bad or estimates.first_bad()
        record = self._kept.record_steps()
        for epoch in range(settings.num_epochs):
            if epoch and settings.recompute_advantages:
                source.take_targets(self._targets(rows, self._estimate(rows)))
            for minibatch in source.epoch(num_minibatches, self._kept.orders):
                record.add(self._step(minibatch, coefficients, source.ranks), minibatch.num_rows)
            mean_kl = record.end_epoch(cause)["mean_kl"]
            if settings.early_stop_kl is not None and mean_kl > settings.early_stop_kl:
                break
        if settings.use_kl_loss:
            self._kl_coeff = float(adapted_kl_coeff(self._kl_coeff, mean_kl, settings.kl_target))
        return record.metrics() | {
            "mean_kl": mean_kl,
            "kl_coeff": self._kl_coeff,
            "num_env_steps_trained": float(source.num_rows),
        }

    def _step(self, minibatch: Minibatch, coefficients: Coefficients, ranks: Ranks) -> Tensor:
        """Take one gradient step, or skip it; returns its STEP_STATISTICS [K] without waiting for them."""
        parameters, value_B = minibatch.forward(self.policy)
        loss, sums = ppo_loss(
            self.policy.distribution, parameters, value_B, minibatch, coefficients, total=torch.sum
        )
        (loss / minibatch.num_rows).backward()  # type: ignore[no-untyped-call]
        return self._kept.gradient_step.take(sums / minibatch.num_rows, ranks)
