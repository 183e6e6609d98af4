"""What a learner of any algorithm keeps from one update to the next, and how it is saved."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from outrider.learner.learner import StateTree
from outrider.learner.ranks import OneRank, Ranks
from outrider.learner.rows.fragment_rows import Rows, heard
from outrider.learner.rows.loading import Loader, wait_for
from outrider.learner.rows.row_orders import DrawnOrders, RowOrders
from outrider.learner.training.gradient_step import GradientStep
from outrider.learner.training.non_finite import SkippedSteps
from outrider.learner.training.normalization import RewardScale, observe
from outrider.learner.training.schedule import Schedule, value_at
from outrider.learner.training.step_record import StepRecord
from outrider.rlmodule import Policy
from outrider.wire import Weights

_LOGGER = logging.getLogger("outrider.learner")


class TrainingSettings(Protocol):
    """The settings that all algorithms have."""

    @property
    def lr(self) -> Schedule: ...
    @property
    def gamma(self) -> float: ...
    @property
    def grad_clip(self) -> float | None: ...
    @property
    def adam_epsilon(self) -> float: ...
    @property
    def max_consecutive_skipped_steps(self) -> int: ...


class TrainingState:
    """The policy, its optimiser, the normalisers' memory, randomness and counters.

    The policy is moved to `device` and changed in place.
    """

    def __init__(
        self,
        policy: Policy,
        settings: TrainingSettings,
        *,
        seed: int,
        ranks: Ranks | None,
        device: torch.device | None,
        orders: RowOrders | None = None,
    ) -> None:
        device = torch.device("cpu") if device is None else device
        self._settings = settings
        self.policy = policy.to(device)
        self.ranks: Ranks = OneRank() if ranks is None else ranks
        self.loader = Loader(device)
        self.gradient_step = GradientStep(
            policy, self.ranks, grad_clip=settings.grad_clip, adam_epsilon=settings.adam_epsilon
        )
        self.reward_scale = RewardScale()
        self.skipped = SkippedSteps(settings.max_consecutive_skipped_steps)
        self.generator = torch.Generator().manual_seed(seed)
        self.orders: RowOrders = DrawnOrders(self.generator) if orders is None else orders
        self.num_env_steps = 0
        self.num_updates = 0
        self.version = 0

    def begin_update(self, rows: Rows) -> float:
        """Wait for `rows`, say what is bad about them, set the learning rate and return it."""
        wait_for(rows)
        self.orders.begin(self.num_updates)
        if rows.first_bad and not self.skipped.consecutive:
            _LOGGER.warning("gradient steps are skipped because %s", rows.first_bad)
        learning_rate = value_at(self._settings.lr, self.num_env_steps)
        self.gradient_step.set_learning_rate(learning_rate)
        return learning_rate

    def record_steps(self) -> StepRecord:
        """Return what takes down this update's gradient steps."""
        return StepRecord(self.skipped, update=self.num_updates)

    def scaled_rewards(self, rows: Rows) -> Tensor:
        """Return the rewards [N] to learn from; to be called once for each update."""
        return self.reward_scale.scale(self.policy, rows, heard(self.ranks, rows), self._settings.gamma)

    def end_update(self, rows: Rows, num_rows: int) -> None:
        """Count an update of `num_rows` over all ranks, and the observations that it was made from."""
        observe(self.policy, rows, heard(self.ranks, rows))
        self.num_env_steps += num_rows
        self.num_updates += 1
        self.version += 1

    def publish(self) -> Weights:
        """Copy the weights."""
        return self.policy.weights(self.version)

    def get_state(self, **of_the_algorithm: Any) -> StateTree:  # noqa: ANN401 - a StateTree's values
        """Copy everything, with what the algorithm itself keeps beside it."""
        return {
            "fingerprint": self.policy.fingerprint(),
            "module": dict(self.policy.weights(self.version).tensors),
            "optimizer": self.gradient_step.get_state(),
            "reward_scale": self.reward_scale.get_state(),
            "skipped_steps": self.skipped.get_state(),
            "generator": self.generator.get_state().numpy().copy(),
            "num_env_steps": self.num_env_steps,
            "num_updates": self.num_updates,
            "version": self.version,
            **of_the_algorithm,
        }

    def set_state(self, state: StateTree, *, of_the_algorithm: tuple[str, ...] = ()) -> None:
        """Take over what `get_state` returned; raises ValueError before anything changes."""
        check_parts(state, (*self.get_state(), *of_the_algorithm))
        self.policy.load_weights(
            Weights(version=state["version"], fingerprint=state["fingerprint"], tensors=state["module"])
        )
        self.gradient_step.set_state(state["optimizer"])
        self.reward_scale.set_state(state["reward_scale"])
        self.skipped.set_state(state["skipped_steps"])
        self.generator.set_state(torch.from_numpy(state["generator"].copy()))
        self.num_env_steps = int(state["num_env_steps"])
        self.num_updates = int(state["num_updates"])
        self.version = int(state["version"])


def check_parts(state: Mapping[str, object], names: Iterable[str]) -> None:
    """Raise ValueError where a learner's state lacks one of these."""
    missing = sorted(set(names) - state.keys())
    if missing:
        raise ValueError(
            f"the learner's state lacks {', '.join(missing)}; it was not made by this version of "
            "outrider-learner, or is damaged: use a checkpoint of this version"
        )
