"""A rank of a learner service under torchrun that is not rank 0: does what it is called for.

{"call": "make", "plan", "asynchronous"}  ->  {"error": sentence or ""}
{"call": "set_state", "state"}            ->  {"error": sentence or ""}
{"call": "get_state", "digests"}          ->  the entries that rank 0 has otherwise
{"call": "update", "shards"}                  a fragment's bytes each; all ranks train at once
{"call": "put", "shards"}                     the same, to be trained on in its turn
{"call": "make_policies", "plan", "shares_rows"}  ->  {"error": sentence or ""}
{"call": "policies", "name", "arguments"}         ->  what `PolicyRank` answers
{"call": "end"}, {"call": "exit"}
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from outrider.learner.groups.learner_loop import LearnerLoop
from outrider.learner.groups.rank_error import LostRankError
from outrider.learner.learner import Learner, StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import own_part
from outrider.learner.service.service_plan import read_plan
from outrider.learner.service.service_terms import LIMITS
from outrider.learner.service.torchrun_link import Link
from outrider.learner.service.torchrun_policy_rank import PolicyRank
from outrider.transport import LocalFragment
from outrider.wire import Fragment, decode_fragment

_WATCH_EVERY_S = 1.0
_LOGGER = logging.getLogger("outrider.learner.service")


class TorchrunRank:
    """One learner, driven by rank 0."""

    def __init__(self, link: Link, *, network_modules: Sequence[str]) -> None:
        """Wait for `serve`; networks of users come from `network_modules`."""
        self._link = link
        self._network_modules = network_modules
        self._timeout_s = 0.0
        self._learner: Learner | None = None
        self._loop: LearnerLoop[None] | None = None
        self._policies: PolicyRank | None = None

    def serve(self) -> None:
        """Do what rank 0 says until it says exit; raises LostRankError where it is gone."""
        while (message := self._link.receive(0))["call"] != "exit":
            self._do(message)
        self._end()

    def _do(self, message: dict[str, Any]) -> None:
        match message["call"]:
            case "make":
                self._answer(lambda: self._make(message["plan"], message["asynchronous"]))
            case "set_state":
                self._answer(lambda: self._set_state(message["state"]))
            case "get_state":
                self._link.send(0, own_part(self._get_state(), message["digests"]))
            case "update":
                self._made().update(_read(message["shards"]))
            case "put":
                assert self._loop is not None
                self._loop.put([LocalFragment(each) for each in _read(message["shards"])])
            case "make_policies":
                self._answer(lambda: self._make_policies(message["plan"], message["shares_rows"]))
            case "policies":
                assert self._policies is not None
                self._link.send(0, self._policies.answer(message["name"], message["arguments"]))
            case "end":
                self._end()

    def _make(self, message: dict[str, Any], is_asynchronous: bool) -> None:  # noqa: FBT001 - from a message
        self._end()
        plan = read_plan(message, self._network_modules)
        torch.set_num_threads(max(1, int(plan.settings.num_cpus_per_learner)))
        self._timeout_s = plan.settings.learner_timeout_s
        ranks, device = self._link.join_sums(plan.settings)
        self._learner = plan.make_learner(ranks, device)
        if is_asynchronous:
            self._loop = LearnerLoop(self._learner, publish=lambda: None)
            threading.Thread(target=_watch, args=(self._loop,), daemon=True).start()

    def _make_policies(self, message: dict[str, Any], shares_rows: bool) -> None:  # noqa: FBT001 - as above
        self._end()
        plan = read_plan(message, self._network_modules)
        assert isinstance(plan, MultiAgentPlan)
        self._policies = PolicyRank(self._link, replace(plan, shares_rows=shares_rows), self._network_modules)

    def _set_state(self, state: StateTree) -> None:
        learner = self._made()
        if self._loop is None:
            learner.set_state(state)
        else:
            self._loop.between_updates(lambda: learner.set_state(state), self._timeout_s)

    def _get_state(self) -> StateTree:
        learner = self._made()
        if self._loop is None:
            return learner.get_state()
        return self._loop.between_updates(learner.get_state, self._timeout_s)

    def _made(self) -> Learner:
        assert self._learner is not None, "make comes first"
        return self._learner

    def _end(self) -> None:
        loop, self._loop, self._learner, self._policies = self._loop, None, None, None
        if loop is not None:
            loop.close()
        self._link.leave_sums()

    def _answer(self, work: Any) -> None:  # noqa: ANN401 - a function without arguments
        try:
            work()
        except ValueError as error:
            self._link.send(0, {"error": str(error)})
        else:
            self._link.send(0, {"error": ""})


def _watch(loop: LearnerLoop[None]) -> None:
    """End the process when its learner fails: others wait for it in a sum, and torchrun starts all anew."""
    try:
        while not loop.is_closed:
            loop.report(_WATCH_EVERY_S)
    except LostRankError as error:
        _LOGGER.warning("%s", error)
    except BaseException:
        _LOGGER.exception("a learner failed")
    else:
        return
    os._exit(1)


def _read(shards: Sequence[Any]) -> list[Fragment]:
    return [decode_fragment(memoryview(shard), LIMITS) for shard in shards]
