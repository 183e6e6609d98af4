"""The policies of one rank of a learner service under torchrun, rank 0's too: what it is asked, by name.

("update", fragments)      ->  {"metrics"}              bytes each; all ranks train at once
("publish",)               ->  {"weights"}              bytes
("get_state", digests)     ->  {"state"}                of None all, or else what rank 0 has otherwise
("set_state", state)       ->  {}
and the calls of `RankPolicies`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from outrider.learner.groups.rank_error import error_message
from outrider.learner.groups.rank_policies import RankPolicies
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import own_part
from outrider.learner.ranks import ApartRank, Ranks
from outrider.learner.service.service_plan import read_stack
from outrider.learner.service.service_terms import LIMITS
from outrider.learner.service.torchrun_link import Link
from outrider.wire import decode_fragment, encode_weights

Answer = dict[str, Any]


class PolicyRank:
    """One learner, of policies of its own or of its share of everybody's rows."""

    def __init__(self, link: Link, plan: MultiAgentPlan, network_modules: Sequence[str]) -> None:
        """Make the learner, on all ranks at once; networks of users come from `network_modules`."""
        torch.set_num_threads(max(1, int(plan.settings.num_cpus_per_learner)))
        ranks: Ranks
        if plan.shares_rows:
            ranks, device = link.join_sums(plan.settings)
        else:
            ranks, device = ApartRank(link.rank, link.num_ranks), link.choose_device(plan.settings)
        self.learner = plan.make_learner(ranks, device)
        read = partial(read_stack, algorithm=plan.algorithm, network_modules=network_modules)
        shared = ranks if plan.shares_rows else None
        policies = RankPolicies(self.learner, plan, device=device, ranks=shared, read=read)
        self._calls: dict[str, Callable[..., Answer]] = {
            "update": self.update,
            "publish": self.publish,
            "get_state": self.get_state,
            "set_state": self.set_state,
            **policies.calls,
        }

    def call(self, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        """Answer a call. Raises what goes wrong."""
        return self._calls[name](*arguments)

    def answer(self, name: str, arguments: Sequence[Any]) -> Answer:
        """Answer a call, also one that goes wrong."""
        try:
            return self.call(name, *arguments)
        except Exception as error:  # noqa: BLE001 - told to rank 0
            return error_message(error)

    def update(self, fragments: Sequence[bytes]) -> Answer:
        return {"metrics": self.learner.update([decode_fragment(memoryview(f), LIMITS) for f in fragments])}

    def publish(self) -> Answer:
        return {"weights": encode_weights(self.learner.publish(), checksum=False).to_bytes()}

    def get_state(self, of_rank_0: Mapping[str, Any] | None) -> Answer:
        state = self.learner.get_state()
        return {"state": state if of_rank_0 is None else own_part(state, of_rank_0)}

    def set_state(self, state: StateTree) -> Answer:
        self.learner.set_state(state)
        return {}
