"""What learners of several policies are made of, so that another process can make them.

Free of torch until `make_learner`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from outrider.learner.plans.group_settings import LearnerGroupSettings
from outrider.learner.plans.policy_slices import rank_of
from outrider.learner.plans.sharing import SHARED_POLICIES, SHARED_POLICY_ROWS, Sharing
from outrider.learner.training.number_check import check_number
from outrider.rlmodule import PolicyRecipe
from outrider.rlmodule.ignored_settings import told_before
from outrider.wire import decode_settings, encode_settings

if TYPE_CHECKING:
    import torch

    from outrider.learner.learner import Learner
    from outrider.learner.ranks import Ranks
    from outrider.learner.rows.row_orders import RowOrders
    from outrider.learner.stacks.multi_agent_learner import MultiAgentLearner
    from outrider.learner.stacks.stack_learner import StackLearner

_BETWEEN_RANKS = 1_000_003
"""What seeds of two ranks that share the rows of a policy differ by; numbers of policies are below it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackPlan:
    """Policies of one architecture."""

    name: str
    policy: PolicyRecipe
    """Of each; the seed is not this one but the policy's own."""
    training: Any
    """Settings of the algorithm: PPOSettings and the like."""
    seeds: Mapping[int, int]
    """By number of the policy, the seed of its first weights."""
    overrides: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """By number, training settings of a policy's own."""
    is_stacked: bool = True
    """Whether policies are computed together; if not there is one, which trains like one without others."""

    def __post_init__(self) -> None:
        """Refuse more policies than there is room for."""
        if not self.is_stacked and len(self.seeds) > 1:
            raise ValueError(
                f"stack {self.name!r} has {len(self.seeds)} policies that are not computed together; "
                "give each a stack of its own"
            )

    def make_learner(
        self, algorithm: str, *, seed: int, device: torch.device, ranks: Ranks | None = None
    ) -> StackLearner:
        """Make the learner of these policies; raises ValueError for what cannot be stacked.

        With `ranks` it is one of several that share the rows of each policy.
        """
        if ranks is None and self.is_stacked:
            return self._make_stacked(algorithm, seed, device)
        make = partial(self._make_sole, algorithm, seed, device, ranks)
        if self.is_stacked:
            from outrider.learner.stacks.policies_in_turn import PoliciesInTurn

            return PoliciesInTurn(make, self.seeds, overrides=self.overrides, name=self.name, seed=seed)
        from outrider.learner.stacks.sole_learner import SoleLearner

        ((number, own_seed),) = self.seeds.items()
        return SoleLearner(make(number, own_seed, self.overrides.get(number, {})), number, self.name)

    def _make_sole(
        self,
        algorithm: str,
        seed: int,
        device: torch.device,
        ranks: Ranks | None,
        number: int,
        own_seed: int,
        own: Mapping[str, Any],
    ) -> Learner:
        """Make the learner of one policy."""
        from outrider.learner.algorithms import make_learner
        from outrider.learner.stacks.shared_streams import SharedStreams

        training = replace(self.training, **own)
        with told_before():
            policy = replace(self.policy, seed=own_seed).build()
        if ranks is None:
            return make_learner(algorithm, policy, training, seed=seed + number, device=device)
        seed += number + ranks.rank * _BETWEEN_RANKS
        learner = make_learner(algorithm, policy, training, seed=seed, ranks=ranks, device=device)
        return SharedStreams(learner, ranks)

    def _make_stacked(self, algorithm: str, seed: int, device: torch.device) -> StackLearner:
        from outrider.learner.algorithms import make_learner, make_stacked_learner
        from outrider.rlmodule import PolicyStack

        def make_alone(own: Mapping[str, Any], orders: RowOrders) -> Learner:
            with told_before():
                training, policy = replace(self.training, **own), self.policy.build()
            return make_learner(algorithm, policy, training, seed=0, device=device, orders=orders)

        numbers = sorted(self.seeds)
        with told_before():
            stack = PolicyStack(self.policy, [self.seeds[number] for number in numbers])
        return make_stacked_learner(
            stack,
            self.training,
            numbers=numbers,
            overrides=self.overrides,
            name=self.name,
            seed=seed,
            device=device,
            make_alone=make_alone,
        )

    def of_rank(self, rank: int, num_ranks: int) -> StackPlan:
        """Return the plan of those policies that belong to a rank."""
        return self.only(lambda number: rank_of(number, num_ranks) == rank)

    def only(self, is_kept: Callable[[int], bool]) -> StackPlan:
        """Return the plan of some of the policies, by their numbers."""
        return replace(
            self,
            seeds={number: seed for number, seed in self.seeds.items() if is_kept(number)},
            overrides={number: own for number, own in self.overrides.items() if is_kept(number)},
        )

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values; see `LearnerPlan`."""
        return {
            "name": self.name,
            "policy": self.policy.to_message(dump),
            "training": encode_settings(self.training, dump=dump),
            "seeds": [[number, seed] for number, seed in self.seeds.items()],
            "overrides": [[number, _plain(own)] for number, own in self.overrides.items()],
            "is_stacked": self.is_stacked,
        }

    @staticmethod
    def from_message(
        message: Mapping[str, Any], algorithm: str, load: Callable[[bytes], Any] | None = None
    ) -> StackPlan:
        """Read what `to_message` returned. Raises ValueError for what this release does not know."""
        from outrider.learner.training.algorithm_settings import settings_class

        return StackPlan(
            name=message["name"],
            policy=PolicyRecipe.from_message(message["policy"], load),
            training=decode_settings(settings_class(algorithm), message["training"], load=load),
            seeds=dict(message["seeds"]),
            overrides=dict(message["overrides"]),
            is_stacked=message["is_stacked"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """What learners that train by themselves take in; steps are those of all copies of an environment."""

    train_batch_size: int
    """Steps of an update, of each learner. Several agents have several rows of a step, or none."""
    num_env_steps_per_fragment: int
    max_staleness: int
    """Versions by which a fragment may be older than the learner."""
    queue_capacity: int
    """Updates that may wait."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("train_batch_size", "num_env_steps_per_fragment", "queue_capacity"):
            check_number(name, getattr(self, name), low=1, whole=True)
        check_number("max_staleness", self.max_staleness, low=0, whole=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiAgentPlan:
    """All policies of a run, or those of one rank."""

    algorithm: str
    """Name by which `outrider.learner.training.algorithm_settings` knows it, such as "ppo"."""
    stacks: tuple[StackPlan, ...]
    frozen: frozenset[int] = frozenset()
    """Numbers of policies that do not train."""
    settings: LearnerGroupSettings
    seed: int
    """Of everything random in learning, with the number of the policy; ranks have it in common."""
    intake: Intake | None = None
    """None where learners are told when to train."""
    shares_rows: bool = False
    """Whether ranks share the rows of every policy, and not the policies; see `would_idle`."""

    @property
    def sharing(self) -> Sharing:
        """What ranks share out."""
        return SHARED_POLICY_ROWS if self.shares_rows else SHARED_POLICIES

    def would_idle(self, num_ranks: int) -> bool:
        """Return whether a rank would have no policy to train, were policies dealt."""
        numbers = {number for stack in self.stacks for number in stack.seeds} - self.frozen
        return len({rank_of(number, num_ranks) for number in numbers}) < num_ranks

    def for_ranks(self, num_ranks: int) -> MultiAgentPlan:
        """Return the plan in which so many ranks all have something to train."""
        return replace(self, shares_rows=self.would_idle(num_ranks))

    def of_rank(self, rank: int, num_ranks: int) -> MultiAgentPlan:
        """Return the plan of those policies that belong to a rank, of all architectures it has any of."""
        return self.only(lambda number: rank_of(number, num_ranks) == rank)

    def without(self, number: int) -> MultiAgentPlan:
        """Return the plan without a policy."""
        return self.only(lambda other: other != number)

    def with_policy(self, stack: StackPlan) -> MultiAgentPlan:
        """Return the plan with the policies of `stack`, too, in a stack of that name."""
        stacks = {known.name: known for known in self.stacks}
        if (known := stacks.get(stack.name)) is not None:
            seeds, overrides = {**known.seeds, **stack.seeds}, {**known.overrides, **stack.overrides}
            stack = replace(known, seeds=seeds, overrides=overrides)
        return replace(self, stacks=tuple((stacks | {stack.name: stack}).values()))

    def make_learner(self, ranks: Ranks, device: torch.device) -> MultiAgentLearner:
        """Make the learner of one rank: of its own policies, which sums nothing, or of its share of rows."""
        from outrider.learner.stacks.multi_agent_learner import MultiAgentLearner

        own = self if self.shares_rows else self.of_rank(ranks.rank, ranks.size)
        shared = ranks if self.shares_rows else None
        stacks = {
            stack.name: stack.make_learner(self.algorithm, seed=self.seed, device=device, ranks=shared)
            for stack in own.stacks
        }
        return MultiAgentLearner(stacks, frozen=sorted(own.frozen))

    def only(self, is_kept: Callable[[int], bool]) -> MultiAgentPlan:
        """Return the plan of some of the policies, by their numbers, and of the stacks that have any."""
        stacks = tuple(stack.only(is_kept) for stack in self.stacks)
        frozen = frozenset(number for number in self.frozen if is_kept(number))
        return replace(self, stacks=tuple(stack for stack in stacks if stack.seeds), frozen=frozen)

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values; `dump` pickles a network of the user's (see `PolicyRecipe`)."""
        return {
            "algorithm": self.algorithm,
            "stacks": [stack.to_message(dump) for stack in self.stacks],
            "frozen": sorted(self.frozen),
            "settings": encode_settings(self.settings, dump=dump),
            "seed": self.seed,
            "intake": None if self.intake is None else encode_settings(self.intake),
            "shares_rows": self.shares_rows,
        }

    @staticmethod
    def from_message(
        message: Mapping[str, Any], load: Callable[[bytes], Any] | None = None
    ) -> MultiAgentPlan:
        """Read what `to_message` returned. Raises ValueError for what this release does not know."""
        algorithm, intake = message["algorithm"], message.get("intake")
        return MultiAgentPlan(
            algorithm=algorithm,
            stacks=tuple(StackPlan.from_message(stack, algorithm, load) for stack in message["stacks"]),
            frozen=frozenset(message["frozen"]),
            settings=decode_settings(LearnerGroupSettings, message["settings"], load=load),
            seed=message["seed"],
            intake=None if intake is None else decode_settings(Intake, intake),
            shares_rows=message.get("shares_rows", False),
        )


def _plain(value: Any) -> Any:  # noqa: ANN401 - settings by name, numbers, or pairs of them
    if isinstance(value, Mapping):
        return {name: _plain(child) for name, child in value.items()}
    return [_plain(child) for child in value] if isinstance(value, list | tuple) else value
