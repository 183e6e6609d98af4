"""PPO: from fragments to new weights. Axes: N rows of an update, B rows of a minibatch, K statistics."""

import logging
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
from outrider.learner.metrics import mean_statistics
from outrider.learner.minibatches import Minibatch, MinibatchSource, Targets
from outrider.learner.non_finite import SkippedSteps
from outrider.learner.normalization import RewardScale, observe
from outrider.learner.ppo_settings import PPOSettings
from outrider.learner.ranks import OneRank, Ranks
from outrider.learner.rows import Rows, rows_from_fragments
from outrider.learner.schedule import value_at
from outrider.rlmodule import Policy
from outrider.wire import Fragment, Weights

_LOGGER = logging.getLogger("outrider.learner")


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
    ) -> None:
        self.settings = settings
        self._device = torch.device("cpu") if device is None else device
        self.policy = policy.to(self._device)
        self._ranks: Ranks = OneRank() if ranks is None else ranks
        self._gradient_step = GradientStep(policy, settings, self._ranks)
        self._reward_scale = RewardScale(settings.gamma)
        self._skipped = SkippedSteps(settings.max_consecutive_skipped_steps)
        self._generator = torch.Generator().manual_seed(seed)
        self._kl_coeff = settings.kl_coeff if settings.use_kl_loss else 0.0
        self._num_env_steps = 0
        self._num_updates = 0

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        """Train on `fragments`; see `Learner` and, for what comes back, `outrider.learner.metrics`."""
        clock = _Stopwatch()
        rows = rows_from_fragments(fragments, self._device)
        if rows.first_bad and not self._skipped.consecutive:
            _LOGGER.warning("gradient steps are skipped because %s", rows.first_bad)
        clock.lap("gather_s")
        estimates = estimate(self.policy, rows, max_seq_len=self.settings.max_seq_len)
        targets, variance = self._targets(rows, estimates)
        clock.lap("estimate_s")
        metrics = self._train(rows, targets, estimates)
        clock.lap("train_s")
        observe(self.policy, rows, self._ranks)
        clock.lap("normalize_s")
        self._num_updates += 1
        return metrics | {"explained_variance": variance} | clock.laps

    def publish(self) -> Weights:
        return self.policy.weights(self._num_updates)

    def get_state(self) -> StateTree:
        return {
            "fingerprint": self.policy.fingerprint(),
            "module": dict(self.policy.weights(self._num_updates).tensors),
            "optimizer": self._gradient_step.get_state(),
            "reward_scale": self._reward_scale.get_state(),
            "skipped_steps": self._skipped.get_state(),
            "generator": self._generator.get_state().numpy().copy(),
            "kl_coeff": self._kl_coeff,
            "num_env_steps": self._num_env_steps,
            "num_updates": self._num_updates,
        }

    def set_state(self, state: StateTree) -> None:
        missing = self.get_state().keys() - state.keys()
        if missing:
            raise ValueError(
                f"the learner's state lacks {', '.join(sorted(missing))}; it was not made by this version of "
                "outrider-learner, or is damaged: use a checkpoint of this version"
            )
        self.policy.load_weights(
            Weights(version=state["num_updates"], fingerprint=state["fingerprint"], tensors=state["module"])
        )
        self._gradient_step.set_state(state["optimizer"])
        self._reward_scale.set_state(state["reward_scale"])
        self._skipped.set_state(state["skipped_steps"])
        self._generator.set_state(torch.from_numpy(state["generator"].copy()))
        self._kl_coeff = float(state["kl_coeff"])
        self._num_env_steps = int(state["num_env_steps"])
        self._num_updates = int(state["num_updates"])

    def _targets(self, rows: Rows, estimates: Estimates) -> tuple[Targets, float]:
        """Estimate advantages and what the values should have been; also the explained variance."""
        value_N = estimates.value_N
        advantage_N = gae(
            self._reward_scale.scale(self.policy, rows, self._ranks),
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
        """Take all gradient steps of an update."""
        settings = self.settings
        source = MinibatchSource(
            rows=rows,
            targets=targets,
            sequences=estimates.sequences,
            needs_parameters=settings.use_kl_loss,
            ranks=self._ranks,
        )
        learning_rate = value_at(settings.lr, self._num_env_steps)
        self._gradient_step.set_learning_rate(learning_rate)
        clip = value_at(settings.clip_param, self._num_env_steps)
        entropy_coeff = value_at(settings.entropy_coeff, self._num_env_steps)
        num_minibatches = source.num_minibatches(settings.minibatch_size)
        cause = rows.first_bad or estimates.first_bad()
        epochs: list[Tensor] = []
        num_rows: list[int] = []
        num_skipped = 0
        for _ in range(settings.num_epochs):
            steps, counts = [], []
            for minibatch in source.epoch(num_minibatches, self._generator):
                steps.append(self._step(minibatch, clip, entropy_coeff))
                counts.append(minibatch.num_rows)
            epoch = torch.stack(steps).cpu()
            num_skipped += self._skipped.count(epoch, cause=cause, update=self._num_updates)
            epochs.append(epoch)
            num_rows += counts
            mean_kl = mean_statistics(epoch, counts)["mean_kl"]
            if settings.early_stop_kl is not None and mean_kl > settings.early_stop_kl:
                break
        self._num_env_steps += source.num_rows
        self._adapt_kl_coefficient(mean_kl)
        metrics = mean_statistics(torch.cat(epochs), num_rows)
        del metrics["total_loss"]
        return metrics | {
            "mean_kl": mean_kl,
            "learning_rate": learning_rate,
            "kl_coeff": self._kl_coeff,
            "num_epochs": float(len(epochs)),
            "num_steps": float(len(epochs) * num_minibatches),
            "skipped_steps": float(num_skipped),
            "num_env_steps_trained": float(source.num_rows),
        }

    def _step(self, minibatch: Minibatch, clip: float, entropy_coeff: float) -> Tensor:
        """Take one gradient step, or skip it; returns its STEP_STATISTICS [K] without waiting for them."""
        settings, distribution = self.settings, self.policy.distribution
        parameters, value_B = minibatch.forward(self.policy)
        log_prob_B, entropy_B = distribution.log_prob_and_entropy(parameters, minibatch.actions)
        log_ratio_B = log_prob_B - minibatch.log_prob_B
        ratio_B = log_ratio_B.exp()
        policy_loss = ppo_loss.surrogate_sum(ratio_B, minibatch.advantage_B, clip)
        if settings.vf_clip_param is None:
            value_loss = ppo_loss.squared_error_sum(value_B, minibatch.value_target_B)
        else:
            value_loss = ppo_loss.clipped_squared_error_sum(
                value_B, minibatch.value_B, minibatch.value_target_B, settings.vf_clip_param
            )
        loss = policy_loss + settings.vf_loss_coeff * value_loss
        entropy = entropy_B.sum()
        if entropy_coeff:
            loss = loss - entropy_coeff * entropy
        if minibatch.parameters is None:
            divergence = ppo_loss.divergence_estimate_sum(log_ratio_B.detach(), ratio_B.detach())
        else:
            divergence = distribution.kl(minibatch.parameters, parameters).sum()
            loss = loss + self._kl_coeff * divergence
        (loss / minibatch.num_rows).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            clipped = ppo_loss.clipped_count(ratio_B, clip)
            sums = torch.stack((policy_loss, value_loss, entropy, divergence, clipped, loss))
            return self._gradient_step.take(sums / minibatch.num_rows)

    def _adapt_kl_coefficient(self, mean_kl: float) -> None:
        if not self.settings.use_kl_loss:
            return
        if mean_kl > 2.0 * self.settings.kl_target:
            self._kl_coeff *= 1.5
        elif mean_kl < 0.5 * self.settings.kl_target:
            self._kl_coeff *= 0.5


class _Stopwatch:
    """Seconds between laps. On a GPU, work that is under way counts to the lap that waits for it."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
