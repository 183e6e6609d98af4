"""Ranks that have policies of their own, as their group sees them. Free of torch and Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from outrider.learner.groups.dealt_calls import Answer, HeldFragment
from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.learner import StateTree
from outrider.learner.plans.sharing import Sharing
from outrider.transport import FragmentReference, WeightsReference

Ref: TypeAlias = Any
"""An answer under way, or weights."""


class SliceRanks(Protocol):
    """Processes that are asked by name, as `outrider.learner.ray_groups.ray_rank` says; `RayRanks` is one.

    What waits for an answer raises the rank's own error; LostRankError, which says which one is gone; or
    LostObjectError, where a fragment or weights that it was handed are.
    """

    plan: Any
    """What ranks are made of that are made anew: a `MultiAgentPlan`."""
    sharing: Sharing

    @property
    def num_ranks(self) -> int: ...
    def call(self, rank: int, name: str, *args: Any) -> Ref: ...  # noqa: ANN401 - plain values
    def call_with_weights(self, rank: int, name: str, *args: Any) -> tuple[Ref, Ref]: ...  # noqa: ANN401
    def report(self, rank: int, timeout_s: float) -> tuple[Ref, Ref]: ...
    def answer(self, rank: int, ref: Ref) -> Answer: ...
    def answers(self, refs: Sequence[Ref]) -> list[Answer]: ...
    def read(self, ref: Ref, rank: int) -> Answer:
        """Return an answer that has come."""
        ...

    def first(self, refs: Sequence[Ref], timeout_s: float) -> Ref | None:
        """Return one that has come, once one has; None where none does in time."""
        ...

    def settled(
        self, refs: Mapping[int, Ref]
    ) -> tuple[dict[int, Answer], list[LostRankError | LostObjectError]]:
        """Wait for answers of some ranks; return them, and who gives none, and why."""
        ...

    def get_state(self, method: str, *args: Any) -> StateTree: ...  # noqa: ANN401 - plain values
    def publish(self) -> WeightsReference: ...
    def joined_weights(self, weights: Sequence[Ref], version: int) -> WeightsReference: ...
    def held(self, fragments: Sequence[FragmentReference]) -> Sequence[HeldFragment]:
        """Put fragments where ranks can fetch them."""
        ...

    def still_there(self, fragments: Sequence[FragmentReference], *, rank: int = 0) -> Sequence[HeldFragment]:
        """Return those that a rank can fetch."""
        ...

    def make_anew(self, rank: int) -> None:
        """Put another in the place of a rank, which has its policies of `plan` as they begin."""
        ...

    def kill(self) -> None: ...


def lost_ranks(lost: Sequence[LostRankError | LostObjectError]) -> list[LostRankError]:
    """Return those that say that a rank is gone."""
    return [error for error in lost if isinstance(error, LostRankError)]
