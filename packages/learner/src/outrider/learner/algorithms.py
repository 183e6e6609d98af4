"""Makes the learners of all algorithms. Imports torch only then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from outrider.learner.algorithm_settings import AlgorithmSettings, settings_class
from outrider.learner.appo_settings import APPOSettings
from outrider.learner.impala_settings import IMPALASettings
from outrider.learner.ppo_settings import PPOSettings

if TYPE_CHECKING:
    import torch

    from outrider.learner.learner import Learner
    from outrider.learner.ranks import Ranks
    from outrider.learner.row_orders import RowOrders
    from outrider.learner.stack_learner import StackLearner
    from outrider.learner.trained_alone import MakeAlone
    from outrider.rlmodule import Policy, PolicyStack


def make_learner(
    name: str,
    policy: Policy,
    settings: AlgorithmSettings,
    *,
    seed: int,
    ranks: Ranks | None = None,
    device: torch.device | None = None,
    orders: RowOrders | None = None,
) -> Learner:
    """Make the learner of an algorithm; raises ValueError for settings of another one."""
    kind = settings_class(name)
    if type(settings) is not kind:
        raise ValueError(f"{name} takes {kind.__name__}; it was given {type(settings).__name__}")
    match settings:
        case PPOSettings():
            from outrider.learner.ppo import PPOLearner

            return PPOLearner(policy, settings, seed=seed, ranks=ranks, device=device, orders=orders)
        case IMPALASettings():
            from outrider.learner.impala import IMPALALearner

            return IMPALALearner(policy, settings, seed=seed, ranks=ranks, device=device, orders=orders)
        case APPOSettings():
            from outrider.learner.appo import APPOLearner

            return APPOLearner(policy, settings, seed=seed, ranks=ranks, device=device, orders=orders)


def make_stacked_learner(
    stack: PolicyStack,
    settings: AlgorithmSettings,
    *,
    numbers: Sequence[int],
    overrides: Mapping[int, Mapping[str, Any]] | None = None,
    name: str,
    seed: int,
    device: torch.device | None = None,
    make_alone: MakeAlone | None = None,
) -> StackLearner:
    """Make the learner of policies that are computed together; see `StackedLearner`."""
    match settings:
        case PPOSettings():
            from outrider.learner.stacked_ppo import StackedPPOLearner

            return StackedPPOLearner(
                stack,
                settings,
                numbers=numbers,
                overrides=overrides,
                name=name,
                seed=seed,
                device=device,
                make_alone=make_alone,
            )
        case IMPALASettings():
            from outrider.learner.stacked_impala import StackedIMPALALearner

            return StackedIMPALALearner(
                stack,
                settings,
                numbers=numbers,
                overrides=overrides,
                name=name,
                seed=seed,
                device=device,
                make_alone=make_alone,
            )
        case APPOSettings():
            from outrider.learner.stacked_appo import StackedAPPOLearner

            return StackedAPPOLearner(
                stack,
                settings,
                numbers=numbers,
                overrides=overrides,
                name=name,
                seed=seed,
                device=device,
                make_alone=make_alone,
            )
