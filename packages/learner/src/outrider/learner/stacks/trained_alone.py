"""The one policy of a stack that trains, in a learner of its own: with one, that is quicker than a stack."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from outrider.learner.learner import Learner, StateTree
from outrider.learner.rows.fragment_rows import Rows
from outrider.learner.rows.row_orders import KeyedOrders, RowOrders
from outrider.learner.stacks.policy_state import to_own, to_stacked
from outrider.learner.training.appo import APPOLearner

MakeAlone: TypeAlias = Callable[[Mapping[str, Any], RowOrders], Learner]
"""Makes the learner of a policy from settings of its own, and the orders of its rows."""


class TrainedAlone(NamedTuple):
    """A policy that goes on from its state in a stack, as it would there.

    What it learns is put back after each update; it is up to date while nobody else changes the policy.
    """

    learner: Learner
    number: int
    shuffle_key: Any

    @staticmethod
    def of(
        make: MakeAlone, number: int, state: StateTree, own: Mapping[str, Any], earlier: Sequence[Rows]
    ) -> "TrainedAlone":
        """Begin from what `StackLearner.policy_state` returned, and rows to be used again."""
        key = state["counters"]["shuffle_key"]
        learner = make(own, KeyedOrders(int(key)))
        learner.set_state(to_own(state, learner.get_state()))
        if isinstance(learner, APPOLearner):
            learner.keep(earlier)
        return TrainedAlone(learner, number, key)

    def state(self) -> StateTree:
        """Return what `StackLearner.set_policy_state` takes."""
        return to_stacked(self.learner.get_state(), version=0, shuffle_key=self.shuffle_key, is_frozen=False)

    def earlier_rows(self) -> list[Rows]:
        """Return rows that are to be used again, newest first."""
        return self.learner.earlier_rows() if isinstance(self.learner, APPOLearner) else []


def sole_trainer(trained: NDArray[np.int32], rows: Rows) -> int | None:
    """Return the only one of the policies that train, if there is one and all rows are its own."""
    of_rows = rows.stream_key_S[rows.length_S > 0, 0]
    is_sole = len(trained) == 1 and len(of_rows) and bool((of_rows == trained[0]).all())
    return int(trained[0]) if is_sole else None
