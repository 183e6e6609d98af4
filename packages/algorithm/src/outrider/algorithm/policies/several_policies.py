"""The policies of a run with several agents: looked at, added, removed, frozen, and mapped anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from outrider.algorithm.policies.names_said import NamesSaid
from outrider.algorithm.policies.policy_book import sole_stack
from outrider.algorithm.policies.policy_returns import PolicyReturns
from outrider.algorithm.saved.checkpointed_policy import recorded_recipe
from outrider.algorithm.settings.multi_agent_settings import require_policy_name
from outrider.envrunner.policies.matchups import Matchups
from outrider.learner import TrainingDivergedError
from outrider.wire import Weights, stack_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from outrider.algorithm.loops.iteration import Iteration
    from outrider.algorithm.policies.current_mapping import CurrentMapping, MappingFunction
    from outrider.algorithm.policies.players import Players
    from outrider.algorithm.policies.policy_book import BookedPolicy, PolicyBook
    from outrider.algorithm.policies.stack_assembly import StackAssembly
    from outrider.learner.groups.learned_policies import LearnedPolicies
    from outrider.rlmodule import Policy
    from outrider.wire import AgentEpisodes


_LOGGER = logging.getLogger(__name__)


class SeveralPolicies:
    """Keeps book, learner and runner in step. What is changed acts from the next fragment on."""

    def __init__(
        self,
        book: PolicyBook,
        mapping: CurrentMapping,
        assemblies: Sequence[StackAssembly],
        learner: LearnedPolicies,
        *,
        players: Players | None = None,
        republish: Callable[[], None] = lambda: None,
        samples_ahead: bool = False,
    ) -> None:
        """Without players nothing is changed. `republish` is called when the learner has other policies."""
        self.book, self.mapping = book, mapping
        self._assemblies, self._learner, self._players = assemblies, learner, players
        self._republish = republish
        self._samples_ahead = samples_ahead
        self._returns = PolicyReturns()
        self.newest_episodes: tuple[AgentEpisodes, ...] = ()
        """Episodes of agents that ended in the newest iteration, by fragment."""
        self._diverged: set[int] = set()
        """Numbers of the policies that were frozen because they diverged."""

    def results(self, iteration: Iteration) -> dict[str, Any]:
        """Take in what ended in an iteration, and return the metrics of `policy_returns`.

        Raises TrainingDivergedError where all policies that learned have diverged.
        """
        if iteration.metrics.get("diverged_policies"):
            self._freeze_diverged()
        of_fragments = [summary.episodes.agents for summary in iteration.summaries]
        self.newest_episodes = tuple(each for each in of_fragments if each is not None)
        self._returns.add(self.newest_episodes)
        return self._returns.results(self.book) | {"num_diverged_policies": len(self._diverged)}

    def names_said(self) -> NamesSaid:
        """Return what puts names into what a learner says."""
        policies = {number: name for name, number in self.book.numbers.items()}
        return NamesSaid(policies, dict(enumerate(self.mapping.agents)))

    def metrics(self) -> dict[str, NDArray[Any]]:
        """Return what is known of each policy, [P] in the order of the book; nan where nothing is."""
        return self._returns.metrics(self.book) | self._learner.policy_metrics()

    def policy(self, name: str, weights: Weights) -> Policy:
        """Make a policy with a copy of its weights. Raises ValueError where there is none of this name."""
        booked = self.book[name]
        policy = self._assemblies[booked.planned].policy()
        load_from_stacks(policy, weights, booked.number)
        return policy

    def add(self, name: str, *, like: str | None) -> None:
        """Add a policy: a copy of `like` with all that it goes on from, or a new one."""
        self._check_changes("add_policy")
        require_policy_name(name, "add_policy() got")
        if name in self.book:
            raise ValueError(f"there is a policy {name!r} already; choose another name")
        if not isinstance(like, str | None):
            raise ValueError(
                f"add_policy({name!r}, like=...) takes the name of a policy and got {type(like).__name__}: a "
                "new policy has the architecture of one that there is; give one with another to "
                "config.multi_agent(policies={..., 'NAME': PolicySpec(rl_module=...)}) from the beginning, "
                "and add others like that"
            )
        source = self._source(name) if like is None else self.book[like]
        assembly = self._assemblies[source.planned]
        stack = source.stack if assembly.is_stacked else sole_stack(self.book.next_number)
        added = self.book.add(
            name, stack=stack, planned=source.planned, own={} if like is None else source.own
        )
        try:
            self._learner.add(
                assembly.learner_plan(stack, [added]), like=None if like is None else source.number
            )
        except BaseException:  # learners elsewhere may refuse it, or be gone
            self.book.remove(name)
            raise
        self._tell_players()

    def remove(self, name: str) -> None:
        """Remove a policy; rows of it that are not learned from yet are dropped."""
        self._check_changes("remove_policy")
        policy = self.book[name]
        if len(self.book) == 1:
            raise ValueError(f"policy {name!r} is the only one; add another before it is removed")
        if (agent := self.mapping.agent_of(name)) is not None:
            raise ValueError(
                f"policy {name!r} acts for agent {agent!r}; let another do so before, with set_matchups or "
                "set_policy_mapping_fn"
            )
        self._learner.remove(policy.number)  # first: learners elsewhere may be gone
        self.book.remove(name)
        self._diverged.discard(policy.number)
        self._tell_players()

    def freeze(self, names: Sequence[str]) -> None:
        """Let these policies stay as they are."""
        self._learner.freeze([self.book[name].number for name in names])

    def thaw(self, names: Sequence[str]) -> None:
        """Let these policies learn again."""
        numbers = [self.book[name].number for name in names]
        self._learner.thaw(numbers)
        self._diverged.difference_update(numbers)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the policies that do not learn."""
        frozen = self._learner.frozen
        return tuple(policy.name for policy in self.book if policy.number in frozen)

    def set_mapping(self, chosen: MappingFunction | Matchups) -> None:
        """Map the agents of episodes that begin from now on.

        Raises ValueError for policies that there are not, or that do not fit their agents.
        """
        if self._players is None:
            self.mapping.set(chosen)
            return
        before = self.mapping.chosen
        self.mapping.set(chosen, require_fit=self._players.require_fit)
        try:
            self._players.change_mapping()
        except ValueError:
            self.mapping.set(before)
            raise

    def get_state(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside what learner and runner do."""
        return {
            "book": self.book.get_state(),
            "mapping": self.mapping.get_state(),
            "returns": self._returns.get_state(),
            "diverged": sorted(self._diverged),
            "recipes": [recorded_recipe(assembly.recipe) for assembly in self._assemblies],
            "planned_for": [assembly.planned_for for assembly in self._assemblies],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned; the book came with the settings."""
        self._returns.set_state(state["returns"])
        self._diverged = set(state.get("diverged", ()))

    def _freeze_diverged(self) -> None:
        """Let policies rest whose gradient steps are skipped without end."""
        diverged, names_said = self._learner.diverged, self.names_said()
        reasons = {
            policy.name: names_said.in_sentence(diverged[policy.number])
            for policy in self.book
            if policy.number in diverged
        }
        if not reasons:
            return
        if {policy.name for policy in self.book} == reasons.keys() | set(self.frozen):
            name, reason = next(iter(reasons.items()))
            raise TrainingDivergedError(f"policy {name!r}: {reason}")
        for name, reason in reasons.items():
            _LOGGER.warning(
                "policy %r is frozen and plays on as it is, and the others learn on: %s", name, reason
            )
        self.freeze([*reasons])
        self._diverged.update(self.book[name].number for name in reasons)

    def _source(self, name: str) -> BookedPolicy:
        """Return a policy whose architecture a new one has that is like no other."""
        planned = {policy.planned: policy for policy in self.book}
        if len(planned) > 1:
            shown = ", ".join(repr(policy.name) for policy in planned.values())
            raise ValueError(
                f"policy {name!r} could have one of {len(planned)} architectures; say whose: like= {shown}"
            )
        return next(iter(planned.values()))

    def _tell_players(self) -> None:
        assert self._players is not None
        self._players.change_policies()
        self._republish()

    def _check_changes(self, what: str) -> None:
        if self._players is None:
            raise ValueError(
                f"{what}() on an algorithm that was loaded without runners and learners; load it with "
                "to_train=True"
            )
        if self._samples_ahead:
            raise ValueError(
                f"{what}() with sample_ahead=True, by which weights act that know of no change yet; leave "
                "sample_ahead out"
            )


class PoliciesByName(Mapping[str, "Policy"]):
    """The policies of a run, each made when it is asked for, with a copy of its newest weights."""

    def __init__(self, several: SeveralPolicies, weights: Callable[[], Weights]) -> None:
        self._several, self._weights = several, weights

    def __getitem__(self, name: str) -> Policy:
        if name not in self._several.book:
            raise KeyError(name)
        return self._several.policy(name, self._weights())

    def __iter__(self) -> Iterator[str]:
        return (policy.name for policy in self._several.book)

    def __len__(self) -> int:
        return len(self._several.book)

    def __contains__(self, name: object) -> bool:
        return name in self._several.book


def load_from_stacks(policy: Policy, weights: Weights, number: int) -> None:
    """Load the weights of one policy. Raises ValueError where it is in no stack."""
    for stack in weights.stacks:
        (places,) = np.nonzero(stack.policies == number)
        if len(places):
            tensors = {name: tensor[places[0]] for name, tensor in stack_tensors(weights, stack).items()}
            policy.load_weights(
                Weights(version=weights.version, fingerprint=policy.fingerprint(), tensors=tensors)
            )
            return
    raise ValueError(f"policy number {number} is in none of the stacks that were published")
