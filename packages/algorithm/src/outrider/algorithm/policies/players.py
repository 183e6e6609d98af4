"""What acts in a run with several policies, told which there are and who acts for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.policy_fit import PolicyFit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from outrider.algorithm.policies.current_mapping import CurrentMapping, MappingFunction
    from outrider.algorithm.policies.policy_book import PolicyBook
    from outrider.algorithm.policies.stack_assembly import StackAssembly
    from outrider.envrunner.agents.multi_agent_vector import AgentGroup
    from outrider.envrunner.fleet.async_fleet import AsyncRunnerFleet
    from outrider.envrunner.fleet.fleet import RunnerFleet
    from outrider.envrunner.policies.acting_stack import ActingStack
    from outrider.envrunner.policies.matchups import Matchups
    from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner


class Players(Protocol):
    """The runners. What they are told holds from the next fragment on."""

    def change_policies(self) -> None:
        """Let those act that are in the book now."""
        ...

    def change_mapping(self) -> None:
        """Ask the mapping as it is now. Raises ValueError where the runners cannot be told of it."""
        ...

    def require_fit(self, policy: NDArray[np.int32]) -> None:
        """Raise ValueError unless each agent [A] has a policy that fits it."""
        ...


class PlayersHere:
    """One runner in this process, which looks into the mapping itself."""

    def __init__(
        self,
        book: PolicyBook,
        assemblies: Sequence[StackAssembly],
        runner: MultiAgentRunner,
        acting: Mapping[str, ActingStack],
    ) -> None:
        """`acting` are the stacks that the runner acts with."""
        self._book, self._assemblies, self._runner = book, assemblies, runner
        self._acting = dict(acting)

    def change_policies(self) -> None:
        """Make what acts for policies that are alone in their stack."""
        by_stack = self._book.by_stack()
        for name, policies in by_stack.items():
            if name not in self._acting:
                self._acting[name] = self._assemblies[policies[0].planned].acting(name, policies)
        self._acting = {name: self._acting[name] for name in by_stack}
        self._runner.set_policies([policy.entry for policy in self._book], list(self._acting.values()))

    def change_mapping(self) -> None:
        """Do nothing."""

    def require_fit(self, policy: NDArray[np.int32]) -> None:
        """Ask the runner."""
        self._runner.require_fit(policy)


class PlayersElsewhere:
    """Runners in other processes, which have a copy of the plan."""

    def __init__(
        self,
        book: PolicyBook,
        mapping: CurrentMapping,
        assemblies: Sequence[StackAssembly],
        groups: Sequence[AgentGroup],
        fleet: RunnerFleet | AsyncRunnerFleet,
    ) -> None:
        """Take book and mapping as the plan of the fleet's runners has them."""
        self._book, self._mapping, self._fleet = book, mapping, fleet
        self._assemblies, self._groups = assemblies, groups
        self._planned_mapping: MappingFunction | Matchups = mapping.chosen
        self._planned_stacks: dict[int, str] = {}
        for name, policies in book.by_stack().items():
            self._planned_stacks.setdefault(policies[0].planned, name)

    def change_policies(self) -> None:
        """Tell who there is."""
        self._tell()

    def change_mapping(self) -> None:
        """Tell who acts for whom."""
        self._tell()

    def require_fit(self, policy: NDArray[np.int32]) -> None:
        """Compare spaces."""
        stacks = [
            self._assemblies[policies[0].planned].spaces(name)
            for name, policies in self._book.by_stack().items()
        ]
        entries = [booked.entry for booked in self._book]
        PolicyFit(self._mapping.agents, self._groups, stacks, entries).require(policy)

    def _tell(self) -> None:
        chosen = self._mapping.chosen
        self._fleet.recast(
            Cast(
                stacks={
                    name: self._planned_stacks[policies[0].planned]
                    for name, policies in self._book.by_stack().items()
                },
                policies=tuple([policy.entry for policy in self._book]),
                mapping=None if chosen is self._planned_mapping else chosen,
            )
        )
