r"""Learners of a service under torchrun, from rank 0: it deals the streams of what comes to all ranks.

    fragments --> deal_streams --> take_streams --> the other ranks, as bytes
                               \--> its own shard       then all train at once, in the same order

Rank 0 listens, trains, and publishes; a rank that dies ends the service, and torchrun starts all anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from outrider.learner.groups.async_group import LocalAsyncLearnerGroup
from outrider.learner.groups.group import (
    AsyncLearnerGroup,
    LearnerGroup,
    LearnerGroupStatistics,
    LocalLearnerGroup,
    UpdateReport,
)
from outrider.learner.groups.group_policies import GroupPolicies
from outrider.learner.groups.learned_policies import BetweenUpdates, LearnedPolicies
from outrider.learner.learner import Learner, StateTree
from outrider.learner.plans.learner_plan import LearnerPlan
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import digests, for_all, join_ranks, part_for
from outrider.learner.rows.portions import Portion
from outrider.learner.rows.shards import deal_streams
from outrider.learner.service.served_groups import asynchronous, intake_of
from outrider.learner.service.service_plan import plan_message, stack_message
from outrider.learner.service.torchrun_link import Link
from outrider.learner.service.torchrun_policies import TorchrunChanges, TorchrunLearner
from outrider.learner.service.torchrun_policy_rank import PolicyRank
from outrider.transport import FragmentReference, LocalFragment, LocalWeights, WeightsReference
from outrider.wire import Fragment, encode_fragment, take_streams

_LOGGER = logging.getLogger("outrider.learner.service")


class TorchrunGroups:
    """Makes learners on all ranks; obeys `ServedGroups`."""

    def __init__(self, link: Link, *, network_modules: Sequence[str]) -> None:
        """Take the place of rank 0; networks of users come from `network_modules`."""
        self.num_learners = link.num_ranks
        self._link = link
        self._network_modules = network_modules

    def make(self, plan: LearnerPlan) -> LearnerGroup:
        return TorchrunLearnerGroup(self._link, _make(self._link, plan, is_asynchronous=False))

    def make_async(self, plan: LearnerPlan) -> AsyncLearnerGroup:
        asynchronous(plan)
        return TorchrunAsyncLearnerGroup(self._link, _make(self._link, plan, is_asynchronous=True), plan)

    def make_policies(self, plan: MultiAgentPlan) -> tuple[LearnerGroup, LearnedPolicies]:
        plan = plan.for_ranks(self.num_learners)
        learner = self._make_policies(plan)
        group = LocalLearnerGroup(learner)
        return group, self._changing(plan, learner, group)

    def make_async_policies(self, plan: MultiAgentPlan) -> tuple[AsyncLearnerGroup, LearnedPolicies]:
        plan, intake = plan.for_ranks(self.num_learners), intake_of(plan)
        learner = self._make_policies(plan)
        group = LocalAsyncLearnerGroup(
            learner,
            train_batch_size=intake.train_batch_size * self.num_learners,
            max_staleness=intake.max_staleness,
            queue_capacity=intake.queue_capacity,
            timeout_s=plan.settings.learner_timeout_s,
            num_steps_per_fragment=intake.num_env_steps_per_fragment,
        )
        return group, self._changing(plan, learner, group)

    def close(self) -> None:
        with self._link.exchange:
            self._link.call("exit")

    def _make_policies(self, plan: MultiAgentPlan) -> TorchrunLearner:
        with self._link.exchange:
            self._link.call("make_policies", plan=plan_message(plan), shares_rows=plan.shares_rows)
            try:
                own = PolicyRank(self._link, plan, self._network_modules)
            finally:
                _check(self._link)
        return TorchrunLearner(self._link, plan, own)

    def _changing(
        self, plan: MultiAgentPlan, learner: TorchrunLearner, group: BetweenUpdates
    ) -> LearnedPolicies:
        return GroupPolicies(TorchrunChanges(learner, group, self.num_learners), plan, stack_message)


class TorchrunLearnerGroup:
    """Ranks that are told when to train; obeys `LearnerGroup`."""

    def __init__(self, link: Link, learner: Learner) -> None:
        self._link = link
        self._learner = learner
        self._num_lost_rows = 0

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        """Train; fewer streams than ranks, as where a runner was lost, are left out and counted."""
        if sum(each.summary.num_streams for each in fragments) < self._link.num_ranks:
            _LOGGER.warning("this update is left out: too few of its fragments came")
            self._num_lost_rows += sum(each.summary.num_rows for each in fragments)
            return {}
        return self._learner.update(_deal(self._link, "update", fragments))

    def publish(self) -> WeightsReference:
        return LocalWeights(self._learner.publish())

    def statistics(self) -> LearnerGroupStatistics:
        return LearnerGroupStatistics(num_lost_rows=self._num_lost_rows)

    def get_state(self) -> StateTree:
        return _join_states(self._link, self._learner.get_state())

    def set_state(self, state: StateTree) -> None:
        _set_states(self._link, state)
        self._learner.set_state(for_all(state))

    def close(self) -> None:
        _end(self._link)


class TorchrunAsyncLearnerGroup:
    """Ranks that train by themselves; obeys `AsyncLearnerGroup`."""

    def __init__(self, link: Link, learner: Learner, plan: LearnerPlan) -> None:
        self._link = link
        training = asynchronous(plan)
        self._own = LocalAsyncLearnerGroup(
            learner,
            train_batch_size=training.train_batch_size_per_learner * link.num_ranks,
            max_staleness=training.max_staleness,
            queue_capacity=training.learner_queue_size,
            timeout_s=plan.settings.learner_timeout_s,
            num_ranks=link.num_ranks,
            deal=self._deal,
        )

    @property
    def room(self) -> int:
        return self._own.room

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        self._own.put(fragments)

    def reports(self, timeout_s: float) -> Sequence[UpdateReport]:
        return self._own.reports(timeout_s)

    def publish(self) -> WeightsReference:
        return self._own.publish()

    def learn_what_was_put(self) -> None:
        self._own.learn_what_was_put()

    def get_state(self) -> StateTree:
        return _join_states(self._link, self._own.get_state())

    def set_state(self, state: StateTree) -> None:
        _set_states(self._link, state)
        self._own.set_state(for_all(state))

    def close(self) -> None:
        """Train on what was put, so that no rank waits in a sum for one that has stopped; then stop all."""
        with suppress(Exception):  # a learner that failed is stopped as well
            self._own.learn_what_was_put()
        self._own.close()
        _end(self._link)

    def _deal(self, portion: Portion) -> list[FragmentReference]:
        return [LocalFragment(each) for each in _deal(self._link, "put", portion.fragments)]


def _make(link: Link, plan: LearnerPlan, *, is_asynchronous: bool) -> Learner:
    with link.exchange:
        link.call("make", plan=plan_message(plan), asynchronous=is_asynchronous)
        torch.set_num_threads(max(1, int(plan.settings.num_cpus_per_learner)))
        try:
            ranks, device = link.join_sums(plan.settings)
            return plan.make_learner(ranks, device)
        finally:  # what is not heard now would be taken for the answer to the next call
            _check(link)


def _check(link: Link) -> None:
    """Hear what the other ranks say to a call; raises ValueError for the first that refuses."""
    answers = [link.receive(rank) for rank in range(1, link.num_ranks)]
    for rank, answer in enumerate(answers, start=1):
        if answer["error"]:
            raise ValueError(f"learner {rank}: {answer['error']}")


def _deal(link: Link, call: str, fragments: Sequence[FragmentReference]) -> list[Fragment]:
    """Send every other rank its shards, and return those of rank 0."""
    loaded = [fragment.load() for fragment in fragments]
    dealt = [
        [take_streams(loaded[shard.fragment], shard.first, shard.stop) for shard in shards]
        for shards in deal_streams([len(each.streams.lengths) for each in loaded], link.num_ranks)
    ]
    for rank in range(1, link.num_ranks):
        link.send(rank, {"call": call, "shards": [encode_fragment(each).to_bytes() for each in dealt[rank]]})
    return dealt[0]


def _join_states(link: Link, state: StateTree) -> StateTree:
    link.call("get_state", digests=digests(state))
    parts: list[Any] = [link.receive(rank) for rank in range(1, link.num_ranks)]
    return join_ranks(state, parts)


def _set_states(link: Link, state: StateTree) -> None:
    for rank in range(1, link.num_ranks):
        link.send(rank, {"call": "set_state", "state": for_all(state) | part_for(state, rank)})
    _check(link)


def _end(link: Link) -> None:
    link.call("end")
    link.leave_sums()
