"""Policies of one architecture that train one after the other, each on all ranks. Axes: P policies.

Free of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from outrider.learner.learner import Learner, Loaded, StateTree, TrainingDivergedError
from outrider.learner.rows.shuffles import shuffle_keys
from outrider.learner.stacks.numbers_in_words import other_policies
from outrider.learner.stacks.policy_state import to_own, to_stacked
from outrider.learner.stacks.stack_metrics import by_policy, over_stacks
from outrider.wire import Fragment, Weights, WeightsStack, take_policies

MakeLearner: TypeAlias = Callable[[int, int, Mapping[str, Any]], Learner]
"""Makes the learner of a policy from its number, the seed of its weights and settings of its own."""


class PoliciesInTurn:
    """Learners of one policy each, which sum over ranks; obeys `StackLearner`.

    Weights and states are those of a learner that trains the policies together, so that each goes on from
    what the other left. Ranks are handed the same rows and changes and so take the same steps.
    """

    def __init__(
        self,
        make: MakeLearner,
        seeds: Mapping[int, int],
        *,
        overrides: Mapping[int, Mapping[str, Any]],
        name: str,
        seed: int,
    ) -> None:
        """Make the learners of the policies `seeds`; `seed` is as `StackedLearner` has it."""
        self.name = name
        self._make, self._seed = make, seed
        self._overrides = dict(overrides)
        self._learners = {number: self._made(number, seeds[number]) for number in sorted(seeds)}
        self._versions = dict.fromkeys(self._learners, 0)
        self._frozen: set[int] = set()
        self._metrics: dict[int, dict[str, float]] = {}
        self.diverged: dict[int, str] = {}
        self._version = 0
        self._num_updates = 0

    @property
    def numbers(self) -> NDArray[np.int32]:
        return np.array(list(self._learners), np.int32)

    def load(self, fragments: Sequence[Fragment]) -> dict[int, Loaded]:
        parts: dict[int, list[Fragment]] = {}
        for fragment in fragments:
            for number in np.unique(fragment.streams.policy[fragment.streams.lengths > 0]).tolist():
                parts.setdefault(number, []).append(take_policies(fragment, [number]))
        learners = self._learners
        return {
            number: learners[number].load(part)
            for number, part in sorted(parts.items())
            if number in learners
        }

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: Mapping[int, Loaded]) -> dict[str, float]:
        trained = [number for number in rows if number in self._learners and number not in self._frozen]
        self._metrics, self.diverged = {}, {}
        for number in trained:
            try:
                self._metrics[number] = self._learners[number].update_rows(rows[number])
            except TrainingDivergedError as error:  # of a sum, and so on all ranks
                self.diverged[number] = str(error)
        if trained:
            self._num_updates += 1
            self._changed(*trained)
        return over_stacks(list(self._metrics.values()))

    def publish(self) -> Weights:
        parts = [learner.publish() for learner in self._learners.values()]
        stack = WeightsStack(
            name=self.name,
            fingerprint=parts[0].fingerprint,
            policies=self.numbers,
            versions=np.array(list(self._versions.values()), np.int64),
        )
        tensors = {
            f"{self.name}/{name}": np.stack([part.tensors[name] for part in parts])
            for name in parts[0].tensors
        }
        return Weights(version=self._version, fingerprint=stack.fingerprint, tensors=tensors, stacks=(stack,))

    def add(
        self, number: int, *, like: int | None, seed: int, overrides: Mapping[str, Any] | None = None
    ) -> None:
        if number in self._learners:
            raise ValueError(f"policy {number} is in stack {self.name!r} already; give it a new number")
        if overrides is None and like is not None:
            overrides = self._overrides.get(like)
        source = None if like is None else self.policy_state(like)
        self._overrides[number] = overrides or {}
        self._learners = dict(sorted((self._learners | {number: self._made(number, seed)}).items()))
        self._versions = {each: self._versions.get(each, 0) for each in self._learners}
        if source is not None:
            new = self.policy_state(number)
            counters = source["counters"] | {"is_frozen": np.array(0, np.bool_)}
            own = {name: new[name] for name in ("generator", "reward_scale")}
            self.set_policy_state(number, source | {"counters": counters} | own)
        self._metrics = {}
        self._changed(number)

    def remove(self, number: int) -> None:
        self._check(number)
        if len(self._learners) == 1:
            raise ValueError(f"policy {number} is all that is left of stack {self.name!r}; drop the stack")
        for kept in (self._learners, self._versions, self._overrides, self._metrics):
            kept.pop(number, None)
        self._frozen.discard(number)
        self._version += 1

    def freeze(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._check(number)
            self._frozen.add(number)

    def thaw(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._check(number)
            self._frozen.discard(number)

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        each = [self._metrics.get(number, {}) for number in self._learners]
        columns = [{name: np.array([x]) for name, x in part.items()} for part in each]
        every = by_policy([np.array([number], np.int32) for number in self._learners], columns)
        return {name: column for name, column in every.items() if not name.endswith("_s")}

    def policy_state(self, number: int) -> StateTree:
        self._check(number)
        return to_stacked(
            self._learners[number].get_state(),
            version=self._versions[number],
            shuffle_key=shuffle_keys(self._seed, np.array([number]))[0],
            is_frozen=number in self._frozen,
        )

    def set_policy_state(self, number: int, state: StateTree) -> None:
        self._check(number)
        self._set(number, state)
        self._changed(number)

    def get_state(self) -> StateTree:
        states = [self.policy_state(number) for number in self._learners]
        scales = [state.pop("reward_scale") for state in states]
        return {
            "fingerprint": states[0].pop("fingerprint"),
            "numbers": self.numbers,
            **_stacked(
                [{name: part for name, part in state.items() if name != "fingerprint"} for state in states]
            ),
            "reward_scale": {name: np.concatenate([scale[name] for scale in scales]) for name in scales[0]},
            "num_updates": self._num_updates,
            "version": self._version,
        }

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned of a learner with the same policies; raises ValueError."""
        theirs = state.get("numbers", self.numbers).tolist()
        if theirs != list(self._learners):
            raise other_policies(theirs, self._learners, f"stack {self.name!r}")
        apart = ("fingerprint", "numbers", "reward_scale", "num_updates", "version")
        of_all = {name: value for name, value in state.items() if name not in apart}
        scale = state["reward_scale"]
        for place, number in enumerate(self._learners):
            is_own = scale["stream_keys"][:, 0] == number
            own = {"reward_scale": {name: column[is_own] for name, column in scale.items()}}
            self._set(number, {"fingerprint": state["fingerprint"], **_row(of_all, place), **own})
            self._versions[number] = int(state["counters"]["version"][place])
        self._num_updates, self._version = int(state["num_updates"]), int(state["version"])

    def _set(self, number: int, state: StateTree) -> None:
        learner = self._learners[number]
        own = to_own(state, learner.get_state())
        keys = np.array(own["reward_scale"]["stream_keys"])
        keys[:, 0] = number
        learner.set_state(own | {"reward_scale": own["reward_scale"] | {"stream_keys": keys}})
        (self._frozen.add if state["counters"]["is_frozen"] else self._frozen.discard)(number)

    def _made(self, number: int, seed: int) -> Learner:
        return self._make(number, seed, self._overrides.get(number, {}))

    def _changed(self, *numbers: int) -> None:
        self._version += 1
        self._versions |= dict.fromkeys(numbers, self._version)

    def _check(self, number: int) -> None:
        if number not in self._learners:
            raise ValueError(
                f"there is no policy {number} in stack {self.name!r}, which has {list(self._learners)}"
            )


def _stacked(trees: Sequence[StateTree]) -> StateTree:
    """Put the arrays of trees of one shape behind each other, [P, ...]."""
    return {
        name: _stacked([tree[name] for tree in trees])
        if isinstance(value, dict)
        else np.stack([tree[name] for tree in trees])
        for name, value in trees[0].items()
    }


def _row(tree: StateTree, place: int) -> StateTree:
    """Take one policy out of what `_stacked` returned."""
    return {
        name: _row(value, place) if isinstance(value, dict) else np.array(value[place])
        for name, value in tree.items()
    }
