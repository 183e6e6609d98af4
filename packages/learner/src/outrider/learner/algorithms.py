"""Makes the learners of all algorithms. Imports torch only then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from outrider.learner.training.algorithm_settings import AlgorithmSettings, settings_class
from outrider.learner.training.appo_settings import APPOSettings
from outrider.learner.training.impala_settings import IMPALASettings
from outrider.learner.training.ppo_settings import PPOSettings

if TYPE_CHECKING:
    import torch

    from outrider.learner.learner import Learner
    from outrider.learner.ranks import Ranks
    from outrider.learner.rows.row_orders import RowOrders
    from outrider.learner.stacks.stack_learner import StackLearner
    from outrider.learner.stacks.trained_alone import MakeAlone
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
            from outrider.learner.training.ppo import PPOLearner

            return PPOLearner(policy, settings, seed=seed, ranks=ranks, device=device, orders=orders)
        case IMPALASettings():
            from outrider.learner.training.impala import IMPALALearner

            return IMPALALearner(policy, settings, seed=seed, ranks=ranks, device=device, orders=orders)
        case APPOSettings():
            from outrider.learner.training.appo import APPOLearner

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
    make: Callable[..., StackLearner]
    match settings:
        case PPOSettings():
            from outrider.learner.stacks.stacked_ppo import StackedPPOLearner

            make = partial(StackedPPOLearner, stack, settings)
        case IMPALASettings():
            from outrider.learner.stacks.stacked_impala import StackedIMPALALearner

            make = partial(StackedIMPALALearner, stack, settings)
        case APPOSettings():
            from outrider.learner.stacks.stacked_appo import StackedAPPOLearner

            make = partial(StackedAPPOLearner, stack, settings)
    return make(
        numbers=numbers,
        overrides=overrides,
        name=name,
        seed=seed,
        device=device,
        make_alone=make_alone,
    )
