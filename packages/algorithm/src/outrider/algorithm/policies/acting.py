"""How a policy acts: without torch where it can be exported, through torch where it cannot."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from outrider.envrunner import OnnxPolicy, TorchPolicy
from outrider.rlmodule import PolicyNotExportable, export_graph

if TYPE_CHECKING:
    from outrider.envrunner import ActingPolicy
    from outrider.rlmodule import Policy
    from outrider.wire import PolicyGraph

log = logging.getLogger(__name__)


def exported(policy: Policy) -> PolicyGraph | None:
    """Return how the policy acts without torch, or None, and say so, where that cannot be exported."""
    try:
        return export_graph(policy)
    except PolicyNotExportable as error:
        log.warning("the policy acts through torch, which is slower: %s", error)
        return None


def acting_policies(policy: Policy, graph: PolicyGraph | None) -> Callable[[], ActingPolicy]:
    """Return what makes copies of the policy that act in this process."""
    if graph is None:
        return lambda: TorchPolicy(copy.deepcopy(policy).cpu())
    return lambda: OnnxPolicy(graph)
