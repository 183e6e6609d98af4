"""Which learner trains which policy, and which rows are for whom. Free of torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from outrider.learner.stacks.numbers_in_words import in_words
from outrider.wire import Fragment, all_parts, take_policies

_UNKNOWN, _NOT_TRAINED = -1, -2


class PolicyTable:
    """Policies by number, at one moment; it never changes, so that any thread may read it."""

    def __init__(
        self,
        numbers: Mapping[str, NDArray[np.int32]],
        *,
        frozen: Collection[int] = (),
        removed: Collection[int] = (),
    ) -> None:
        """Take the numbers of the policies of each stack; rows of `frozen` and `removed` are not dealt.

        Raises ValueError for a number that is in two stacks.
        """
        self._names = tuple(numbers)
        every = [int(number) for part in numbers.values() for number in part] + list(removed)
        if len(set(every)) < len(every):
            twice = next(number for number in every if every.count(number) > 1)
            raise ValueError(f"policy number {twice} is used twice; give every policy a number of its own")
        self._stack = np.full(max(every, default=0) + 1, _UNKNOWN, np.int64)
        for place, part in enumerate(numbers.values()):
            self._stack[part] = place
        self._trainer = self._stack.copy()
        self._trainer[[*frozen, *removed]] = _NOT_TRAINED

    def stack_of(self, number: int) -> str:
        """Return the name of the stack that a policy is in; raises ValueError where there is none."""
        place = self._stack[number] if 0 <= number < len(self._stack) else _UNKNOWN
        if place == _UNKNOWN:
            raise ValueError(f"there is no policy {number}; {self._which()}")
        return self._names[place]

    def deal(self, fragments: Sequence[Fragment]) -> dict[str, list[Fragment]]:
        """Return the rows that each stack trains on; stacks without rows are left out.

        Raises ValueError for rows of a policy that there never was.
        """
        dealt: dict[str, list[Fragment]] = {}
        for fragment in fragments:
            for part in map(_alone, all_parts(fragment)):
                numbers = np.unique(part.streams.policy[part.streams.lengths > 0])
                trainer = self._trainers(numbers)
                for place in np.unique(trainer[trainer >= 0]):
                    chosen = numbers[trainer == place]
                    dealt.setdefault(self._names[place], []).append(take_policies(part, chosen))
        return dealt

    def _trainers(self, numbers: NDArray[np.int32]) -> NDArray[np.int64]:
        is_known = (numbers >= 0) & (numbers < len(self._trainer))
        trainer = np.full(len(numbers), _UNKNOWN)
        trainer[is_known] = self._trainer[numbers[is_known]]
        if (trainer == _UNKNOWN).any():
            unknown = numbers[trainer == _UNKNOWN][0]
            raise ValueError(f"there are rows of policy {unknown}, which no learner has; {self._which()}")
        return trainer

    def _which(self) -> str:
        return f"there are {in_words(np.flatnonzero(self._stack != _UNKNOWN))}"


def _alone(part: Fragment) -> Fragment:
    return replace(part, others=()) if part.others else part
