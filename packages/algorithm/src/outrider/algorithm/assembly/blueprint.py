"""What runners and learners are made from, wherever they will be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.algorithm.cluster.ray_cluster import Cluster
    from outrider.algorithm.settings.run_settings import RunSettings
    from outrider.envrunner.gateway.gateway import Gateway
    from outrider.rlmodule import Policy, PolicyRecipe
    from outrider.wire import PolicyGraph


@dataclass(frozen=True, kw_only=True, slots=True)
class Blueprint:
    """Settings, and what was worked out from them."""

    settings: RunSettings
    """With a seed, and with a number of learners."""
    seed: int
    num_steps: int
    """Vector steps of one fragment."""
    recipe: PolicyRecipe
    policy: Policy
    """Made by the recipe."""
    graph: PolicyGraph | None
    """How the policy acts without torch; None where it cannot be exported."""
    gateway: Gateway | None = None
    """Where farms connect; None where none may."""
    cluster: Cluster | None = None
    """Where actors on Ray are made; None where there are none."""
    run_name: str
    """Tags the run in Ray's metrics."""

    @property
    def num_learners(self) -> int:
        """Learners in processes of their own."""
        num_learners = self.settings.learners.num_learners
        assert num_learners != "auto"
        return num_learners
