"""A policy that is alone in its architecture, as a stack of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.learner.learner import Learner, StateTree, TrainingDivergedError
from outrider.wire import Fragment, Weights, WeightsStack


class SoleLearner:
    """A learner of one policy, of any algorithm, recurrent or not; obeys `StackLearner`.

    The learner belongs to this object from then on. It may take fragments of many agents in each
    environment, since all that it remembers of a stream is kept by environment and agent slot.
    """

    def __init__(self, learner: Learner, number: int, name: str) -> None:
        self._learner = learner
        self._number = number
        self._name = name
        self._is_frozen = False
        self._metrics: dict[str, float] = {}
        self.diverged: dict[int, str] = {}
        self._num_changes = 0

    @property
    def numbers(self) -> NDArray[np.int32]:
        return np.array([self._number], np.int32)

    def load(self, fragments: Sequence[Fragment]) -> Any:  # noqa: ANN401 - the learner's own
        return self._learner.load(fragments)

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: Any) -> dict[str, float]:  # noqa: ANN401 - what `load` returned
        self._metrics, self.diverged = {}, {}
        if not self._is_frozen:
            self._num_changes += 1
            try:
                self._metrics = self._learner.update_rows(rows)
            except TrainingDivergedError as error:
                self.diverged = {self._number: str(error)}
        return self._metrics

    def publish(self) -> Weights:
        """Return the learner's weights, each tensor with a first axis of 1."""
        weights = self._learner.publish()
        stack = WeightsStack(
            name=self._name,
            fingerprint=weights.fingerprint,
            policies=self.numbers,
            versions=np.array([self._num_changes], np.int64),
        )
        tensors = {f"{self._name}/{name}": tensor[None] for name, tensor in weights.tensors.items()}
        return Weights(
            version=self._num_changes, fingerprint=weights.fingerprint, tensors=tensors, stacks=(stack,)
        )

    def add(
        self, number: int, *, like: int | None, seed: int, overrides: Mapping[str, Any] | None = None
    ) -> None:
        """Refuse: there is room for one policy."""
        raise ValueError(
            f"policy {number} cannot join stack {self._name!r}, which holds policy {self._number} alone "
            "because its network cannot be stacked; give it a stack of its own"
        )

    def remove(self, number: int) -> None:
        """Refuse: a stack of one goes as a whole."""
        self._check(number)
        raise ValueError(f"policy {number} is all of stack {self._name!r}; drop the stack")

    def freeze(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._check(number)
            self._is_frozen = True

    def thaw(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._check(number)
            self._is_frozen = False

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        """Return the newest update's metrics, each [1]; seconds are not among them."""
        return {name: np.array([x]) for name, x in self._metrics.items() if not name.endswith("_s")}

    def policy_state(self, number: int) -> StateTree:
        """Copy the learner's state."""
        self._check(number)
        return self._learner.get_state()

    def set_policy_state(self, number: int, state: StateTree) -> None:
        self._check(number)
        self._learner.set_state(state)
        self._num_changes += 1

    def get_state(self) -> StateTree:
        return self._learner.get_state()

    def set_state(self, state: StateTree) -> None:
        self.set_policy_state(self._number, state)

    def _check(self, number: int) -> None:
        if number != self._number:
            raise ValueError(f"stack {self._name!r} has no policy {number}; it has policy {self._number}")
