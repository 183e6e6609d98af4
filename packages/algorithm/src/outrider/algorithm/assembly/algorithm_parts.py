"""What an algorithm works with, put together."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.algorithm.loops.evaluation import Evaluator
    from outrider.algorithm.loops.loop import TrainingLoop
    from outrider.algorithm.policies.multi_agent_evaluator import MultiAgentEvaluator
    from outrider.algorithm.policies.several_policies import SeveralPolicies
    from outrider.algorithm.settings.run_settings import RunSettings
    from outrider.envrunner.gateway.gateway import Gateway
    from outrider.rlmodule import Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class AlgorithmParts:
    """Made by `assemble`, taken over by `Algorithm`."""

    settings: RunSettings
    """With a seed, and with numbers where there was "auto"."""
    loop: TrainingLoop
    policy: Policy | None = None
    """None where there are several."""
    several: SeveralPolicies | None = None
    """None where there is one."""
    evaluator: Evaluator | MultiAgentEvaluator
    to_close: ExitStack
    """Closes what the loop works with, the gateway included."""
    gateway: Gateway | None = None
    """Where farms connect; None where none may."""
    reward_threshold: float | None
    """Mean return from which the environment counts as solved; None where it is registered without."""
    num_env_steps_per_fragment: int | None = None
    """As `Totals` has it."""
