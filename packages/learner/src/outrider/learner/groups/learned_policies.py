"""Policies that are looked at, added, removed and frozen between updates, wherever they learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from numpy.typing import NDArray

from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import StackPlan
from outrider.learner.stacks.policy_state import GENERATOR

if TYPE_CHECKING:
    import torch

    from outrider.learner.ranks import Ranks
    from outrider.learner.stacks.multi_agent_learner import MultiAgentLearner

R = TypeVar("R")


class LearnedPolicies(Protocol):
    """The policies of a learner group, by number. The group publishes what is changed here at once."""

    @property
    def frozen(self) -> frozenset[int]:
        """Numbers of the policies that do not train."""
        ...

    @property
    def diverged(self) -> Mapping[int, str]:
        """Numbers of the policies that diverged and are not frozen yet, and why; see `StackLearner`."""
        ...

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        """Return the newest update's metrics [P], policies ascending; nan where one did not train."""
        ...

    def add(self, stack: StackPlan, *, like: int | None, state: StateTree | None = None) -> None:
        """Take in the one policy of `stack`: a copy of policy `like`, with its optimiser, or a new one.

        Or one that goes on from a `state` that `policy_state` returned of it.
        """
        ...

    def policy_state(self, number: int) -> StateTree:
        """Copy everything that a policy goes on from."""
        ...

    def remove(self, number: int) -> None:
        """Forget a policy, and its stack with the last one. Its number is never used again."""
        ...

    def freeze(self, numbers: Sequence[int]) -> None:
        """Let these policies stay as they are."""
        ...

    def thaw(self, numbers: Sequence[int]) -> None:
        """Let these policies train again, from where they stopped."""
        ...


class BetweenUpdates(Protocol):
    """A learner group in this process."""

    def between_updates(self, function: Callable[[], R]) -> R:
        """Call `function` while the learner rests, publish what has changed, and return its result."""
        ...


class PoliciesHere:
    """The policies of a group in this process; obeys `LearnedPolicies`."""

    def __init__(
        self,
        learner: MultiAgentLearner,
        group: BetweenUpdates,
        *,
        algorithm: str,
        seed: int,
        device: torch.device,
    ) -> None:
        """`learner` is the group's. What is given besides is as `StackPlan.make_learner` has it."""
        self._learner = learner
        self._between_updates = group.between_updates
        self._take_in = partial(take_in, learner, algorithm=algorithm, seed=seed, device=device)

    @property
    def frozen(self) -> frozenset[int]:
        return self._learner.frozen

    @property
    def diverged(self) -> Mapping[int, str]:
        return self._between_updates(lambda: dict(self._learner.diverged))

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        return self._between_updates(self._learner.policy_metrics)

    def add(self, stack: StackPlan, *, like: int | None, state: StateTree | None = None) -> None:
        def add() -> None:
            self._take_in(stack, state if like is None else self._learner.policy_state(like))

        self._between_updates(add)

    def policy_state(self, number: int) -> StateTree:
        return self._between_updates(partial(self._learner.policy_state, number))

    def remove(self, number: int) -> None:
        self._between_updates(partial(self._learner.remove, number))

    def freeze(self, numbers: Sequence[int]) -> None:
        self._between_updates(partial(self._learner.freeze, numbers))

    def thaw(self, numbers: Sequence[int]) -> None:
        self._between_updates(partial(self._learner.thaw, numbers))


def take_in(
    learner: MultiAgentLearner,
    stack: StackPlan,
    like: StateTree | None,
    *,
    algorithm: str,
    seed: int,
    device: torch.device,
    ranks: Ranks | None = None,
) -> None:
    """Give `learner` the one policy of `stack`, which may be there already or not.

    `like` is the state of a policy that it is a copy of; with `ranks` its rows are shared among them.
    """
    (number,) = stack.seeds
    if stack.is_stacked and stack.name in learner.stacks:
        learner.add(number, stack=stack.name, seed=stack.seeds[number], overrides=stack.overrides.get(number))
    else:
        learner.add_stack(stack.name, stack.make_learner(algorithm, seed=seed, device=device, ranks=ranks))
    if like is not None:
        its_stack = learner.stacks[stack.name]  # it was counted as one change, and is not published yet
        new = its_stack.policy_state(number)
        its_stack.set_policy_state(number, _as_copy(like, new) if stack.is_stacked else like)


def _as_copy(state: StateTree, new: StateTree) -> StateTree:
    """Return a state of a policy that trains, shuffles and gathers returns as a new one does."""
    own = {name: new["counters"][name] for name in ("shuffle_key", "is_frozen")}
    of_its_own = {name: new[name] for name in ("reward_scale", GENERATOR) if name in new}
    return state | {"counters": state["counters"] | own} | of_its_own
