"""The ranks of a service under torchrun as one learner of several policies, in rank 0.

    load      what each rank is to have of the fragments        (a rank's own policies, or all)
    update    to every rank its part --> all train at once --> metrics
    publish   weights of every rank that has some, joined

Each change of policies goes to the ranks that have the policy. Ranks are in step: an update ends when the
slowest has ended it. One that dies ends the service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from outrider.learner.groups.learned_policies import BetweenUpdates
from outrider.learner.groups.rank_error import read_error
from outrider.learner.learner import Loaded, StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import digests, join_ranks
from outrider.learner.service.service_terms import LIMITS
from outrider.learner.service.torchrun_link import Link
from outrider.learner.service.torchrun_policy_rank import Answer, PolicyRank
from outrider.wire import Fragment, Weights, decode_weights, encode_fragment


class _Parts(NamedTuple):
    own: Loaded
    """Rows of rank 0."""
    others: list[list[bytes]]
    """Fragments of each other rank."""


class TorchrunLearner:
    """All ranks; obeys `Learner`."""

    def __init__(self, link: Link, plan: MultiAgentPlan, own: PolicyRank) -> None:
        """Train with the ranks that have been made of `plan`, of which `own` is this one."""
        self._link = link
        self._sharing = plan.sharing
        self._own = own
        self._holders = self._sharing.holders(link.num_ranks)
        self._others = range(1, link.num_ranks)

    def load(self, fragments: Sequence[Fragment]) -> _Parts:
        def part(rank: int) -> list[Fragment]:
            take = partial(self._sharing.take, rank=rank, num_ranks=self._link.num_ranks)
            return [take(fragment, 0, len(fragment.streams.lengths)) for fragment in fragments]

        others = [[encode_fragment(each).to_bytes() for each in part(rank)] for rank in self._others]
        return _Parts(self._own.learner.load(part(0)), others)

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: _Parts) -> dict[str, float]:
        calls = {rank: ("update", part) for rank, part in zip(self._others, rows.others, strict=True)}
        answers = self._exchange(calls, lambda: {"metrics": self._own.learner.update_rows(rows.own)})
        return self._sharing.join_metrics([answers[rank]["metrics"] for rank in self._holders])

    def publish(self) -> Weights:
        answers = self._exchange(dict.fromkeys(self._holders[1:], ("publish",)))
        parts = [decode_weights(memoryview(answers[rank]["weights"]), LIMITS) for rank in self._holders[1:]]
        return self._sharing.join_weights([self._own.learner.publish(), *parts])

    def get_state(self) -> StateTree:
        own = self._own.learner.get_state()
        known = digests(own) if len(self._holders) < self._link.num_ranks else None
        answers = self._exchange(
            {rank: ("get_state", None if rank in self._holders else known) for rank in self._others}
        )
        states = {rank: answer["state"] for rank, answer in answers.items()}
        whole = self._sharing.join_states([own, *(states[rank] for rank in self._holders[1:])])
        return join_ranks(whole, [states[rank] for rank in self._others if rank not in self._holders])

    def set_state(self, state: StateTree) -> None:
        for_all, parts = self._sharing.deal_state(state, self._link.num_ranks)
        self.call({rank: ("set_state", for_all | part) for rank, part in enumerate(parts)})

    def call(self, calls: Mapping[int, Sequence[Any]]) -> dict[int, Answer]:
        """Call some ranks at once and return their answers; raises what one of them raised."""
        others = {rank: call for rank, call in calls.items() if rank}
        return self._exchange(others, partial(self._own.call, *calls[0]) if 0 in calls else None)

    def _exchange(
        self, calls: Mapping[int, Sequence[Any]], own: Callable[[], Answer] | None = None
    ) -> dict[int, Answer]:
        """Let other ranks do something while rank 0 does its part."""
        with self._link.exchange:
            for rank, (name, *arguments) in calls.items():
                self._link.send(rank, {"call": "policies", "name": name, "arguments": arguments})
            try:
                answers = {} if own is None else {0: own()}
            finally:  # what is not heard now would be taken for the answer to the next call
                answers_of_others = {rank: self._link.receive(rank) for rank in calls}
        for rank, answer in answers_of_others.items():
            if "error" in answer:
                raise read_error(answer, f"learner {rank}")
        return answers | answers_of_others


class TorchrunChanges:
    """Changes the policies of a group whose learner is a `TorchrunLearner`; obeys `ChangingRanks`."""

    def __init__(self, learner: TorchrunLearner, group: BetweenUpdates, num_ranks: int) -> None:
        self._learner = learner
        self._group = group
        self.num_ranks = num_ranks

    def ask(self, rank: int, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        call = {rank: (name, *arguments)}
        return self._group.between_updates(lambda: self._learner.call(call)[rank])

    def change(self, calls: Sequence[Sequence[tuple[Any, ...]]], plan: MultiAgentPlan) -> None:
        def change() -> None:
            for at_once in calls:
                self._learner.call({rank: call for rank, *call in at_once})

        self._group.between_updates(change)
