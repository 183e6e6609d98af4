"""One learner for the policies of all agents, out of one for each architecture. Free of torch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from outrider.learner.learner import Loaded, StateTree
from outrider.learner.stacks.numbers_in_words import in_words, other_policies
from outrider.learner.stacks.policy_table import PolicyTable
from outrider.learner.stacks.stack_learner import StackLearner
from outrider.learner.stacks.stack_metrics import by_policy, over_stacks
from outrider.learner.stacks.stack_weights import JoinedWeights
from outrider.wire import Fragment, Weights

_NONE = np.zeros(0, np.int32)


class Portion(NamedTuple):
    """The rows of an update."""

    rows: dict[str, Loaded]
    """By stack, for those that have any."""
    split_s: float


class MultiAgentLearner:
    """Deals rows to stacks of policies and publishes all their weights as one; obeys `Learner`.

    Rows of policies that are frozen, or were removed since they were sampled, are dropped before anything
    is computed. The version grows by one per update, whoever trained in it, and with every other change
    that runners must learn of.
    """

    def __init__(self, stacks: Mapping[str, StackLearner], *, frozen: Sequence[int] = ()) -> None:
        """Take over learners by the names of their stacks; the policies `frozen` do not train."""
        self._stacks = dict(stacks)
        self._frozen: set[int] = set()
        self._removed: set[int] = set()
        self._trained: set[str] = set()
        """Stacks that trained in the newest update."""
        self._diverged: dict[int, str] = {}
        self._joined = JoinedWeights()
        self._version = 0
        self._num_updates = 0
        self._table = self._new_table()
        self.freeze(frozen)

    @property
    def stacks(self) -> Mapping[str, StackLearner]:
        """The learner of each stack, by name."""
        return self._stacks

    @property
    def numbers(self) -> NDArray[np.int32]:
        """[P] numbers of all policies, ascending."""
        return np.sort(np.concatenate([_NONE, *(stack.numbers for stack in self._stacks.values())]))

    @property
    def frozen(self) -> frozenset[int]:
        """Numbers of the policies that do not train."""
        return frozenset(self._frozen)

    @property
    def diverged(self) -> Mapping[int, str]:
        """Numbers of the policies that diverged since they were last frozen, and why; see `StackLearner`."""
        return self._diverged

    def load(self, fragments: Sequence[Fragment]) -> Portion:
        """Deal the rows of `fragments`; raises ValueError for rows of a policy that there never was."""
        began = time.perf_counter()
        dealt = self._table.deal(fragments)
        split_s = time.perf_counter() - began
        return Portion({name: self._stacks[name].load(part) for name, part in dealt.items()}, split_s)

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: Portion) -> dict[str, float]:
        """Train every stack on its rows; metrics are means over all rows, empty where none was left.

        A policy that diverges is counted, until it is frozen, and costs the others nothing.
        """
        metrics = {
            name: self._stacks[name].update_rows(part)
            for name, part in rows.rows.items()
            if name in self._stacks
        }
        trained = {name: part for name, part in metrics.items() if part}
        for name in metrics:
            self._diverged |= self._stacks[name].diverged
        self._trained = set(trained)
        self._joined.changed(metrics)
        self._version += 1
        self._num_updates += 1
        counts = {"diverged_policies": float(len(self._diverged))} if self._diverged else {}
        return counts | (over_stacks([*trained.values(), {"gather_s": rows.split_s}]) if trained else {})

    def publish(self) -> Weights:
        """Return the weights of all stacks; a policy's version is that at which its change was published."""
        return self._joined.publish(self._stacks, self._version)

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        """Return the newest update's metrics [P] in the order of `numbers`; nan where one did not train."""
        stacks = self._stacks.items()
        metrics = [stack.policy_metrics() if name in self._trained else {} for name, stack in stacks]
        return by_policy([stack.numbers for _, stack in stacks], metrics)

    def add(
        self,
        number: int,
        *,
        stack: str,
        like: int | None = None,
        seed: int = 0,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a policy into a stack; see `StackLearner.add`. It trains until it is frozen."""
        self._check_new([number])
        if stack not in self._stacks:
            raise ValueError(f"there is no stack {stack!r}; there are {in_words(self._stacks)}")
        self._stacks[stack].add(number, like=like, seed=seed, overrides=overrides)
        self._restructured(stack)

    def add_stack(self, name: str, learner: StackLearner) -> None:
        """Take in policies of a new architecture."""
        if name in self._stacks:
            raise ValueError(f"there is a stack {name!r} already; choose another name")
        self._check_new(learner.numbers.tolist())
        self._stacks = self._stacks | {name: learner}
        self._restructured(name)

    def remove(self, number: int) -> None:
        """Forget a policy, and its stack with the last one. Its number is never used again."""
        name = self._table.stack_of(number)
        if len(self._stacks[name].numbers) > 1:
            self._stacks[name].remove(number)
        else:
            self._stacks = {other: stack for other, stack in self._stacks.items() if other != name}
        self._removed.add(number)
        self._frozen.discard(number)
        self._diverged.pop(number, None)
        self._restructured(name)

    def count_change(self) -> None:
        """Count a change of policies that are not here, so that learners of one run stay in step."""
        self._version += 1

    def freeze(self, numbers: Sequence[int]) -> None:
        """Let these policies stay as they are."""
        self._freeze(numbers, is_frozen=True)
        self._frozen |= set(numbers)
        self._diverged = {number: why for number, why in self._diverged.items() if number not in self._frozen}
        self._table = self._new_table()

    def thaw(self, numbers: Sequence[int]) -> None:
        """Let these policies train again, from where they stopped."""
        self._freeze(numbers, is_frozen=False)
        self._frozen -= set(numbers)
        self._table = self._new_table()

    def policy_state(self, number: int) -> StateTree:
        """Copy everything that one policy goes on from."""
        return self._stacks[self._table.stack_of(number)].policy_state(number)

    def set_policy_state(self, number: int, state: StateTree) -> None:
        """Take over what `policy_state` returned, of this policy or another of its architecture.

        It is frozen or trains as before.
        """
        name = self._table.stack_of(number)
        self._stacks[name].set_policy_state(number, state)
        self._freeze([number], is_frozen=number in self._frozen)
        self._restructured(name)

    def get_state(self) -> StateTree:
        return {
            "version": self._version,
            "num_updates": self._num_updates,
            "frozen": sorted(self._frozen),
            "removed": sorted(self._removed),
            "stacks": {
                name: {"numbers": stack.numbers.copy(), "learner": stack.get_state()}
                for name, stack in self._stacks.items()
            },
        }

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned of a learner with the same policies; raises ValueError."""
        theirs = {name: part["numbers"].tolist() for name, part in state["stacks"].items()}
        ours = {name: stack.numbers.tolist() for name, stack in self._stacks.items()}
        if theirs != ours:
            raise other_policies(chain(*theirs.values()), chain(*ours.values()), "the learner")
        for name, stack in self._stacks.items():
            stack.set_state(state["stacks"][name]["learner"])
        self.thaw(sorted(self._frozen))
        self.freeze(state["frozen"])
        self._removed, self._diverged = set(state["removed"]), {}
        self._table = self._new_table()
        self._joined = JoinedWeights()
        self._version, self._num_updates = int(state["version"]), int(state["num_updates"])

    def _restructured(self, stack: str) -> None:
        """Let runners learn of a change that no update made."""
        self._joined.changed([stack])
        self._table = self._new_table()
        self._version += 1

    def _new_table(self) -> PolicyTable:
        numbers = {name: stack.numbers for name, stack in self._stacks.items()}
        return PolicyTable(numbers, frozen=self._frozen, removed=self._removed)

    def _freeze(self, numbers: Sequence[int], *, is_frozen: bool) -> None:
        parts: dict[str, list[int]] = {}
        for number in numbers:
            parts.setdefault(self._table.stack_of(number), []).append(number)
        for name, part in parts.items():
            stack = self._stacks[name]
            (stack.freeze if is_frozen else stack.thaw)(part)

    def _check_new(self, numbers: Sequence[int]) -> None:
        used = self._removed.union(self.numbers.tolist())
        for number in numbers:
            if number in used:
                raise ValueError(
                    f"policy number {number} was used already, and numbers are never used again; "
                    f"take {max(used) + 1}"
                )
