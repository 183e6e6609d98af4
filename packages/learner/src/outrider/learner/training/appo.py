"""APPO: asynchronous PPO with a target network. Axes: N rows of a step, K statistics."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from outrider.learner.learner import StateTree
from outrider.learner.ranks import Ranks
from outrider.learner.rows.circular_buffer import CircularBuffer
from outrider.learner.rows.fragment_rows import Rows
from outrider.learner.rows.row_orders import RowOrders
from outrider.learner.training import ppo_loss
from outrider.learner.training.advantage_scale import explained_variance, standardise
from outrider.learner.training.appo_settings import APPOSettings
from outrider.learner.training.kl_coefficient import adapted_kl_coeff
from outrider.learner.training.schedule import value_at
from outrider.learner.training.stopwatch import Stopwatch
from outrider.learner.training.streams import StreamParts, forward_streams
from outrider.learner.training.training_state import TrainingState
from outrider.learner.training.vtrace import vtrace
from outrider.rlmodule import Policy
from outrider.wire import Fragment, Weights


class APPOLearner:
    """Trains a policy by the clipped surrogate, against a target network; obeys `Learner`.

    Three policies say how likely an action is: mu, which acted; pi', the target network, which is an
    earlier pi; and pi, which learns. V-trace, with the values V' of the target network and the ratios
    pi' / mu, estimates advantages A and targets v of pi'. From there,

        R_t = min(target_worker_clipping, mu / pi') * pi / mu           pi / pi', as far as that is sound
        L   = 1/N sum_t [ -min(R_t * A_t, clamp(R_t, 1 - clip_param, 1 + clip_param) * A_t)
                          + vf_loss_coeff * (V(s_t) - v_t)^2
                          + kl_coeff * KL(pi'(. | s_t) || pi(. | s_t))   with use_kl_loss
                          - entropy_coeff * H(pi(. | s_t)) ]

    N counts the rows of all ranks. Every `target_network_update_freq` updates the target network takes
    over `pi' <- tau * pi + (1 - tau) * pi'`, normaliser statistics as they are.

    An update takes in one batch and uses it and earlier ones as `CircularBuffer` says, so that each is
    used `circular_buffer_iterations_per_batch` times; `num_updates` and the version of the weights grow
    by one. The buffer is not part of the state: what resumes, or goes back, begins with fresh batches.

    The policy is moved to `device` and changed in place. Luo et al. 2020 (arXiv 1912.00167), eq. 5.
    """

    def __init__(
        self,
        policy: Policy,
        settings: APPOSettings,
        *,
        seed: int,
        ranks: Ranks | None = None,
        device: torch.device | None = None,
        orders: RowOrders | None = None,
    ) -> None:
        self.settings = settings
        self._kept = TrainingState(policy, settings, seed=seed, ranks=ranks, device=device, orders=orders)
        self.policy, self._ranks = self._kept.policy, self._kept.ranks
        self._target = copy.deepcopy(self.policy).requires_grad_(requires_grad=False)
        self._buffer: CircularBuffer[StreamParts] = CircularBuffer(
            settings.circular_buffer_num_batches, settings.circular_buffer_iterations_per_batch
        )
        self._kl_coeff = settings.kl_coeff if settings.use_kl_loss else 0.0

    def load(self, fragments: Sequence[Fragment]) -> Rows:
        return self._kept.loader.load(fragments)

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: Rows) -> dict[str, float]:
        """Train on `rows` and earlier ones; see `Learner` and `outrider.learner.metrics`."""
        clock = Stopwatch()
        learning_rate = self._kept.begin_update(rows)
        clip = value_at(self.settings.clip_param, self._kept.num_env_steps)
        entropy_coeff = value_at(self.settings.entropy_coeff, self._kept.num_env_steps)
        rows = replace(rows, reward_N=self._kept.scaled_rewards(rows))
        fresh = StreamParts(rows, self.settings.minibatch_size, self._ranks)
        record = self._kept.record_steps()
        for parts in self._buffer.put(fresh):
            for _ in range(self.settings.num_epochs):
                for part, num_rows in parts.shuffled(self._kept.orders):
                    statistics, value_N, target_N = self._step(
                        part, num_rows, parts.ranks, clip, entropy_coeff
                    )
                    record.add(statistics, num_rows)
                mean_kl = record.end_epoch(parts.rows.first_bad)["mean_kl"]
        clock.lap("train_s")
        self._kept.end_update(rows, fresh.num_rows)
        if self._kept.num_updates % self.settings.target_network_update_freq == 0:
            self._refresh_target(mean_kl)
        clock.lap("normalize_s")
        metrics = record.metrics() | {
            "explained_variance": float(explained_variance(value_N, target_N, parts.ranks)),
            "learning_rate": learning_rate,
            "kl_coeff": self._kl_coeff,
            "num_env_steps_trained": float(fresh.num_rows),
            "gather_s": rows.gather_s,
        }
        return metrics | clock.laps

    def publish(self) -> Weights:
        return self._kept.publish()

    def get_state(self) -> StateTree:
        target = dict(self._target.weights(self._kept.version).tensors)
        return self._kept.get_state(target=target, kl_coeff=self._kl_coeff)

    def set_state(self, state: StateTree) -> None:
        self._kept.set_state(state, of_the_algorithm=("target", "kl_coeff"))
        self._target.load_weights(
            Weights(version=state["version"], fingerprint=state["fingerprint"], tensors=state["target"])
        )
        self._kl_coeff = float(state["kl_coeff"])

    def earlier_rows(self) -> list[Rows]:
        """Return the rows that are to be used again, newest first."""
        return [parts.rows for parts in self._buffer]

    def keep(self, earlier: Sequence[Rows]) -> None:
        """Take over what `earlier_rows` returned of a learner of the same settings."""
        for rows in reversed(earlier):
            self._buffer.put(StreamParts(rows, self.settings.minibatch_size, self._ranks))

    def _step(
        self, rows: Rows, num_rows: int, ranks: Ranks, clip: float, entropy_coeff: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take one gradient step, or skip it.

        Returns its STEP_STATISTICS [K] without waiting for them, the values [N], and what they should be.
        """
        settings, distribution = self.settings, self.policy.distribution
        with torch.no_grad():
            target = forward_streams(self._target, rows)
            target_log_prob_N = distribution.log_prob(target.parameters, rows.actions)
            target_ratio_N = (target_log_prob_N - rows.log_prob_N).exp()
        value_target_N, advantage_N = vtrace(
            rows.reward_N,
            target.value_N,
            target.next_value_N,
            rows.terminated_N,
            rows.followed_N,
            target_ratio_N,
            discount=settings.gamma,
            trace_decay=settings.lambda_,
            bounds=settings.ratio_bounds(),
        )
        if settings.normalize_advantages:
            advantage_N = standardise(advantage_N, ranks)
        outputs = forward_streams(self.policy, rows)
        log_prob_N, entropy_N = distribution.log_prob_and_entropy(outputs.parameters, rows.actions)
        soundness_N = target_ratio_N.reciprocal().clamp(max=settings.target_worker_clipping)
        ratio_N = soundness_N * (log_prob_N - rows.log_prob_N).exp()
        policy_loss = ppo_loss.surrogate(ratio_N, advantage_N, clip).sum()
        value_loss = ppo_loss.squared_error(outputs.value_N, value_target_N).sum()
        entropy = entropy_N.sum()
        loss = policy_loss + settings.vf_loss_coeff * value_loss - entropy_coeff * entropy
        if settings.use_kl_loss:
            divergence = distribution.kl(target.parameters, outputs.parameters).sum()
            loss = loss + self._kl_coeff * divergence
        else:
            log_ratio_N = log_prob_N.detach() - target_log_prob_N
            divergence = ppo_loss.divergence_estimate(log_ratio_N, log_ratio_N.exp()).sum()
        (loss / num_rows).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            clipped = ppo_loss.is_clipped(ratio_N, clip).sum()
            sums = torch.stack((policy_loss, value_loss, entropy, divergence, clipped, loss))
            statistics = self._kept.gradient_step.take(sums / num_rows, ranks)
        return statistics, outputs.value_N.detach(), value_target_N

    def _refresh_target(self, mean_kl: float) -> None:
        """Move the target network towards the policy, which has diverged from it by `mean_kl`."""
        if self.settings.use_kl_loss:
            self._kl_coeff = float(adapted_kl_coeff(self._kl_coeff, mean_kl, self.settings.kl_target))
        follow(self._target, self.policy, self.settings.tau)


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, share: float) -> None:
    """Move the parameters of `target` that share of the way to those of `source`; copy its buffers."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), share)
    for behind, ahead in zip(target.buffers(), source.buffers(), strict=True):
        behind.copy_(ahead)
