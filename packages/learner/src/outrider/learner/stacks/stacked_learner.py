"""Keeps the policies of a stack while an algorithm trains them. Axes: P policies, B of a block, S streams."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.learner import StateTree, TrainingDivergedError
from outrider.learner.rows.fragment_rows import Rows
from outrider.learner.rows.loading import Loader, wait_for
from outrider.learner.rows.shuffles import shuffle_keys
from outrider.learner.stacks.blocks import cut_blocks
from outrider.learner.stacks.freed_memory import keep_freed_memory
from outrider.learner.stacks.numbers_in_words import in_words, other_policies
from outrider.learner.stacks.per_policy import PolicyNumbers, PolicySettings
from outrider.learner.stacks.stacked_metrics import over_policies
from outrider.learner.stacks.stacked_policies import COUNTERS, StackedPolicies
from outrider.learner.stacks.stacked_publication import StackedPublication
from outrider.learner.stacks.stacked_record import StackedRecord
from outrider.learner.stacks.stacked_rows import BlockRows, RowsByPolicy, at, row_bytes
from outrider.learner.stacks.stacked_steps import BlockSteps
from outrider.learner.stacks.trained_alone import MakeAlone, TrainedAlone, sole_trainer
from outrider.learner.training.algorithm_settings import AlgorithmSettings
from outrider.learner.training.normalization import RewardScale
from outrider.learner.training.stopwatch import Stopwatch
from outrider.learner.training.training_state import check_parts
from outrider.rlmodule import PolicyStack
from outrider.wire import Fragment, Weights, WeightsStack

_LOGGER = logging.getLogger("outrider.learner")
Settings = TypeVar("Settings", bound=AlgorithmSettings)


class BlockUpdate(NamedTuple):
    """What an algorithm trains a block of policies on, and how it goes on from where they stopped."""

    place_B: NDArray[np.int64]
    by_policy: RowsByPolicy
    rows: BlockRows
    numbers: PolicyNumbers
    counters: dict[str, NDArray[Any]]
    """Of `COUNTERS`, [B] each, before the update."""
    steps: BlockSteps
    record: StackedRecord


class StackedLearner(Generic[Settings]):
    """Base of learners that train each policy of a stack by itself, all of them together.

    They obey `StackLearner`. What a policy learns depends on its own rows, settings and past, and not on
    who else is in the stack. The stack is moved to `device`, belongs to the learner from then on, and is
    changed in place.
    """

    def __init__(
        self,
        stack: PolicyStack,
        settings: Settings,
        *,
        numbers: Sequence[int],
        overrides: Mapping[int, Mapping[str, Any]] | None = None,
        name: str = "stack",
        seed: int,
        device: torch.device | None = None,
        make_alone: MakeAlone | None = None,
    ) -> None:
        """`numbers` are those of the stack's policies, ascending; `overrides` some settings of some of them.

        With `make_alone`, a policy that trains while all others are frozen has a learner of its own.

        Raises ValueError where they do not fit the stack, or cannot differ within one.
        """
        device = torch.device("cpu") if device is None else device
        keep_freed_memory()
        self.settings, self.name = settings, name
        self._number_P = _checked(numbers, stack.num_policies)
        self._overrides = dict(overrides or {})
        self._own = PolicySettings(settings, numbers, self._overrides)
        self._kept = StackedPolicies(stack.to(device))
        self._kept.counters["shuffle_key"] = shuffle_keys(seed, self._number_P)
        self._kept.counters["kl_coeff"] = self._own.first_kl_coeff()
        self._published = StackedPublication()
        self._reward_scale = RewardScale()
        self._loader = Loader(device)
        self._seed = seed
        self._version = 0
        self._num_updates = 0
        self._metrics: dict[str, NDArray[Any]] = {}
        self._diverged: dict[int, str] = {}
        self._make_alone = make_alone
        self._alone: TrainedAlone | None = None
        self._prepare()

    @property
    def stack(self) -> PolicyStack:
        """The policies, at the places of their numbers."""
        return self._kept.stack

    @property
    def numbers(self) -> NDArray[np.int32]:
        return self._number_P

    def load(self, fragments: Sequence[Fragment]) -> Rows:
        return self._loader.load(fragments)

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: Rows) -> dict[str, float]:
        """Train on `rows`; see `StackLearner` and, for what comes back, `outrider.learner.metrics`."""
        self._metrics, self._diverged = {}, {}
        trained = self._number_P[~self._kept.counters["is_frozen"]]
        if self._make_alone is not None and (number := sole_trainer(trained, rows)) is not None:
            return self._train_alone(number, rows, self._make_alone)
        clock = Stopwatch()
        wait_for(rows)
        counters = self._kept.counters
        by_policy = RowsByPolicy(rows, self._training_places_of(rows), len(self._kept))
        if not by_policy.num_rows_P.any():
            return {}
        self._end_alone()
        if rows.first_bad:
            _LOGGER.warning("gradient steps are skipped because %s", rows.first_bad)
        numbers = self._own.at(counters["num_env_steps"])
        return_N = self._returns(rows, numbers)
        self._version += 1
        self._num_updates += 1
        self._begin_update(rows, by_policy.place_S)
        for block in cut_blocks(
            by_policy.num_rows_P,
            row_bytes=row_bytes(rows.observations),
            policy_bytes=row_bytes(self._kept.first_moments),
            minibatch_size=self.settings.minibatch_size,
        ):
            place_B = self._order(block, by_policy)
            self._train(place_B, by_policy, numbers.take(place_B), return_N)
        clock.lap("train_s")
        return over_policies(self._metrics) | {"gather_s": rows.gather_s} | clock.laps

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        return {name: column.copy() for name, column in self._metrics.items()}

    @property
    def diverged(self) -> Mapping[int, str]:
        return self._diverged

    def publish(self) -> Weights:
        """Return weights that nobody changes as long as they are held.

        A policy's version is that at which it changed.
        """
        stack = WeightsStack(
            name=self.name,
            fingerprint=self.stack.fingerprint(),
            policies=self._number_P.copy(),
            versions=self._kept.counters["version"].copy(),
        )
        copied = self._published.copy(self.stack.tensors, stack.policies, stack.versions)
        tensors = {f"{self.name}/{n}": array for n, array in copied.items()}
        return Weights(version=self._version, fingerprint=stack.fingerprint, tensors=tensors, stacks=(stack,))

    def add(
        self, number: int, *, like: int | None, seed: int, overrides: Mapping[str, Any] | None = None
    ) -> None:
        """Take in a policy; see `StackLearner`. One that is a copy has the settings of the other, too."""
        if number in self._number_P:
            raise ValueError(f"policy {number} is in stack {self.name!r} already; give it a new number")
        source = None if like is None else self._place(like)
        if overrides is None and like is not None:
            overrides = self._overrides.get(like)
        if overrides:
            self._overrides[number] = overrides
        self._kept.grow(seed)
        place = len(self._kept) - 1
        if source is not None:
            self._kept.set_policy_state(place, self._kept.policy_state(source))
        self._own = PolicySettings(self.settings, [*self._number_P.tolist(), number], self._overrides)
        counters = self._kept.counters
        counters["shuffle_key"][place] = shuffle_keys(self._seed, np.array([number]))[0]
        counters["is_frozen"][place] = False
        if source is None:
            counters["kl_coeff"][place] = self._own.first_kl_coeff()[place]
        self._version += 1
        counters["version"][place] = self._version
        self._arrange(np.append(self._number_P, np.int32(number)))

    def remove(self, number: int) -> None:
        place = self._place(number)
        if len(self._kept) == 1:
            raise ValueError(f"policy {number} is all that is left of stack {self.name!r}; drop the stack")
        self._drop_alone(number)
        self._reward_scale.take(number)
        self._overrides.pop(number, None)
        self._version += 1
        self._arrange(self._number_P, leave_out=place)

    def freeze(self, numbers: Sequence[int]) -> None:
        self._kept.counters["is_frozen"][[self._place(number) for number in numbers]] = True

    def thaw(self, numbers: Sequence[int]) -> None:
        self._kept.counters["is_frozen"][[self._place(number) for number in numbers]] = False

    def policy_state(self, number: int) -> StateTree:
        """Copy everything that one policy goes on from, in this stack or another of its architecture."""
        gathered = self._reward_scale.take(number)
        self._reward_scale.put(number, gathered)
        kept = self._kept.policy_state(self._place(number))
        return {"fingerprint": self.stack.fingerprint(), **kept, "reward_scale": gathered}

    def set_policy_state(self, number: int, state: StateTree) -> None:
        self._place(number)
        self._check_fit(state)
        self._drop_alone(number)
        self._put(number, state)

    def get_state(self) -> StateTree:
        return {
            "fingerprint": self.stack.fingerprint(),
            "numbers": self._number_P.copy(),
            **self._kept.get_state(),
            "reward_scale": self._reward_scale.get_state(),
            "num_updates": self._num_updates,
            "version": self._version,
        }

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned of a learner with the same policies; raises ValueError."""
        self._check_fit(state)
        if state["numbers"].tolist() != self._number_P.tolist():
            raise other_policies(state["numbers"].tolist(), self._number_P.tolist(), f"stack {self.name!r}")
        self._alone = None
        self._published.forget()
        self._kept.set_state(state)
        self._reward_scale.set_state(state["reward_scale"])
        self._num_updates, self._version = int(state["num_updates"]), int(state["version"])

    def _put(self, number: int, state: StateTree) -> None:
        place = self._place(number)
        self._kept.set_policy_state(place, state)
        self._reward_scale.put(number, state["reward_scale"])
        self._version += 1
        self._kept.counters["version"][place] = self._version

    def _prepare(self) -> None:
        """Make what the algorithm keeps besides."""

    def _begin_update(self, rows: Rows, place_S: NDArray[np.int64]) -> None:
        """Look at the rows of an update before any block is trained, and at who trains on them."""

    def _take_earlier_rows(self, number: int) -> list[Rows]:
        """Give away a policy's rows that are to be used again, newest first."""
        return []

    def _put_earlier_rows(self, earlier: list[Rows]) -> None:
        """Take in rows of a policy that has none."""

    def _order(self, place_B: NDArray[np.int64], by_policy: RowsByPolicy) -> NDArray[np.int64]:
        """Put policies that take fewer steps than others of their block behind them.

        Blocks come with most rows first.
        """
        return place_B

    def _train_block(self, update: BlockUpdate) -> dict[str, NDArray[Any]]:
        """Take all gradient steps of a block; return metrics [B] beside those of the record.

        Those called as in `COUNTERS` are kept until the next update.
        """
        raise NotImplementedError

    def _end_block(self, update: BlockUpdate) -> None:
        """Do what is to be done with policies whose weights are those after the update."""

    def _train_alone(self, number: int, rows: Rows, make: MakeAlone) -> dict[str, float]:
        """Train a policy on `rows`, in a learner of its own."""
        if self._alone is None or self._alone.number != number:
            self._end_alone()
            own, earlier = self._overrides.get(number, {}), self._take_earlier_rows(number)
            self._alone = TrainedAlone.of(make, number, self.policy_state(number), own, earlier)
        try:
            metrics = self._alone.learner.update_rows(rows)
        except TrainingDivergedError as error:
            metrics, self._diverged = {}, {number: str(error)}
        self._put(number, self._alone.state())
        self._num_updates += 1
        of_policy = {name: value for name, value in metrics.items() if not name.endswith("_s")}
        is_it_P = self._number_P == number
        self._metrics = {name: np.where(is_it_P, value, np.nan) for name, value in of_policy.items()}
        return metrics

    def _end_alone(self) -> None:
        """Take back what the policy that trained alone goes on from."""
        if self._alone is not None:
            self._put_earlier_rows(self._alone.earlier_rows())
            self._alone = None

    def _drop_alone(self, number: int) -> None:
        if self._alone is not None and self._alone.number == number:
            self._alone = None

    def _train(
        self,
        place_B: NDArray[np.int64],
        by_policy: RowsByPolicy,
        numbers: PolicyNumbers,
        return_N: Tensor | None,
    ) -> None:
        """Train the policies at `place_B`, and write down what came of it."""
        kept = self._kept
        counters = {name: column[place_B] for name, column in kept.counters.items()}
        rows, block = by_policy.block(place_B), kept.take(place_B)
        steps = BlockSteps(
            kept.stack,
            block,
            numbers,
            adam_epsilon=self.settings.adam_epsilon,
            num_steps_B=counters["num_steps"],
        )
        record = StackedRecord(
            len(place_B),
            counters["num_skipped_in_a_row"],
            self._number_P[place_B],
            self.settings.max_consecutive_skipped_steps,
            by_policy.first_bad,
        )
        return_BR = None if return_N is None else at(return_N, rows.row_BR)
        steps.count_returns(return_BR, rows.is_row_BR)
        update = BlockUpdate(place_B, by_policy, rows, numbers, counters, steps, record)
        of_the_algorithm = self._train_block(update)
        self._diverged |= record.diverged
        steps.observe(rows)
        kept.put(place_B, block)
        self._end_block(update)
        kept.counters["num_skipped_in_a_row"][place_B] = record.skipped_in_a_row_B
        kept.counters["num_steps"][place_B] += record.num_taken_B
        kept.counters["num_env_steps"][place_B] += rows.num_rows_B
        kept.counters["num_updates"][place_B] += 1
        kept.counters["version"][place_B] = self._version
        metrics = {
            **record.metrics(),
            **of_the_algorithm,
            "learning_rate": numbers.lr,
            "num_env_steps_trained": rows.num_rows_B.astype(np.float64),
        }
        for name, column in metrics.items():
            self._metrics.setdefault(name, np.full(len(kept), np.nan))[place_B] = column
            if name in of_the_algorithm and name in COUNTERS:
                kept.counters[name][place_B] = column

    def _returns(self, rows: Rows, numbers: PolicyNumbers) -> Tensor | None:
        """Return the discounted returns [N] by which rewards are scaled, if they are; also of the frozen."""
        if self.stack.plain.reward_normalizer is None:
            return None
        returns = self._reward_scale.returns(rows, numbers.gamma[self._places_of(rows)])
        return returns.to(rows.reward_N.device)

    def _training_places_of(self, rows: Rows) -> NDArray[np.int64]:
        """Return the place [S] of each stream's policy; -1 where it is frozen or was removed."""
        place_S = self._places_of(rows)
        is_frozen_P = np.append(self._kept.counters["is_frozen"], np.True_)
        return np.where(is_frozen_P[place_S], -1, place_S)

    def _places_of(self, rows: Rows) -> NDArray[np.int64]:
        """Return the place [S] of each stream's policy; -1 where it was removed."""
        number_S = rows.stream_key_S[:, 0]
        place_S = np.minimum(np.searchsorted(self._number_P, number_S), len(self._number_P) - 1)
        return np.where(self._number_P[place_S] == number_S, place_S, -1)

    def _place(self, number: int) -> int:
        found = np.flatnonzero(self._number_P == number)
        if not len(found):
            raise ValueError(
                f"there is no policy {number} in stack {self.name!r}, which has {in_words(self._number_P)}"
            )
        return int(found[0])

    def _arrange(self, number_P: NDArray[np.int32], leave_out: int | None = None) -> None:
        """Bring policies into the order of their numbers."""
        order = np.argsort(number_P)
        order = order if leave_out is None else order[order != leave_out]
        if not np.array_equal(order, np.arange(len(self._kept))):
            self._kept.keep(order)
        self._number_P = number_P[order].astype(np.int32)
        self._own = PolicySettings(self.settings, self._number_P.tolist(), self._overrides)
        self._metrics = {}

    def _check_fit(self, state: StateTree) -> None:
        check_parts(state, (*self._kept.parts(), "counters"))
        if state["fingerprint"] != self.stack.fingerprint():
            raise ValueError(
                f"a state of fingerprint {state['fingerprint']} does not fit stack {self.name!r}, whose "
                f"fingerprint is {self.stack.fingerprint()}; use one of the same spaces and module settings"
            )


def _checked(numbers: Sequence[int], num_policies: int) -> NDArray[np.int32]:
    number_P = np.array(numbers, np.int32)
    if len(number_P) != num_policies or (np.diff(number_P) <= 0).any():
        raise ValueError(
            f"a stack of {num_policies} policies has the numbers {list(numbers)}; give each one, ascending"
        )
    return number_P
