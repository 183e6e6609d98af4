"""Makes the runners of an algorithm from its settings: in this process, or a fleet on Ray."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from outrider.envrunner import EnvRunner, LocalRunnerPool, OnnxPolicy, TorchPolicy
from outrider.rlmodule import PolicyNotExportable

if TYPE_CHECKING:
    from outrider.algorithm.run_settings import RunSettings
    from outrider.envrunner import ActingPolicy
    from outrider.rlmodule import Policy

log = logging.getLogger(__name__)


def acting_policies(policy: Policy) -> Callable[[], ActingPolicy]:
    """Return what makes copies of the policy that act: its graph, or torch where it cannot be exported."""
    try:
        graph = policy.policy_graph()
    except PolicyNotExportable as error:
        log.warning("the policy acts through torch, which is slower: %s", error)
        return lambda: TorchPolicy(copy.deepcopy(policy).cpu())
    return lambda: OnnxPolicy(graph)


def make_local_runners(
    settings: RunSettings, acting: ActingPolicy, policy: Policy, seed: int, *, num_steps: int
) -> LocalRunnerPool:
    """Make the runner of this process, with its environments."""
    runner = EnvRunner(
        settings.environment,
        settings.env_runners,
        acting,
        observation_space=policy.observation_space,
        action_heads=policy.action_heads,
        num_steps=num_steps,
        seed=seed,
    )
    return LocalRunnerPool(runner, sample_ahead=settings.env_runners.sample_ahead)
