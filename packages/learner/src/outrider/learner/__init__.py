"""Turns fragments into new weights. Importing a name of torch's imports torch."""

from importlib import import_module
from typing import TYPE_CHECKING

from outrider.learner.algorithms import make_learner, make_stacked_learner
from outrider.learner.plans.group_settings import LearnerGroupSettings
from outrider.learner.training.algorithm_settings import settings_class
from outrider.learner.training.appo_settings import APPOSettings
from outrider.learner.training.impala_settings import IMPALASettings
from outrider.learner.training.ppo_settings import PPOSettings
from outrider.learner.training.schedule import Schedule

if TYPE_CHECKING:
    from outrider.learner.groups.async_group import LocalAsyncLearnerGroup
    from outrider.learner.groups.group import (
        AsyncLearnerGroup,
        LearnerGroup,
        LearnerGroupStatistics,
        LocalLearnerGroup,
        UpdateReport,
    )
    from outrider.learner.groups.learner_loop import LearnerLoop
    from outrider.learner.groups.mesh_ranks import MeshRanks
    from outrider.learner.learner import Learner, StateTree, TrainingDivergedError
    from outrider.learner.plans.device import choose_device
    from outrider.learner.plans.learner_plan import LearnerPlan
    from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
    from outrider.learner.ranks import OneRank, Ranks
    from outrider.learner.stacks.multi_agent_learner import MultiAgentLearner
    from outrider.learner.stacks.sole_learner import SoleLearner
    from outrider.learner.stacks.stack_learner import StackLearner
    from outrider.learner.stacks.stacked_appo import StackedAPPOLearner
    from outrider.learner.stacks.stacked_impala import StackedIMPALALearner
    from outrider.learner.stacks.stacked_ppo import StackedPPOLearner
    from outrider.learner.training.appo import APPOLearner
    from outrider.learner.training.impala import IMPALALearner
    from outrider.learner.training.ppo import PPOLearner

__all__ = [
    "APPOLearner",
    "APPOSettings",
    "AsyncLearnerGroup",
    "IMPALALearner",
    "IMPALASettings",
    "Learner",
    "LearnerGroup",
    "LearnerGroupSettings",
    "LearnerGroupStatistics",
    "LearnerLoop",
    "LearnerPlan",
    "LocalAsyncLearnerGroup",
    "LocalLearnerGroup",
    "MeshRanks",
    "MultiAgentLearner",
    "MultiAgentPlan",
    "OneRank",
    "PPOLearner",
    "PPOSettings",
    "Ranks",
    "Schedule",
    "SoleLearner",
    "StackLearner",
    "StackPlan",
    "StackedAPPOLearner",
    "StackedIMPALALearner",
    "StackedPPOLearner",
    "StateTree",
    "TrainingDivergedError",
    "UpdateReport",
    "choose_device",
    "make_learner",
    "make_stacked_learner",
    "settings_class",
]

_HOMES = {
    "APPOLearner": "training.appo",
    "AsyncLearnerGroup": "groups.group",
    "IMPALALearner": "training.impala",
    "Learner": "learner",
    "LearnerGroup": "groups.group",
    "LearnerGroupStatistics": "groups.group",
    "LearnerLoop": "groups.learner_loop",
    "LearnerPlan": "plans.learner_plan",
    "LocalAsyncLearnerGroup": "groups.async_group",
    "LocalLearnerGroup": "groups.group",
    "MeshRanks": "groups.mesh_ranks",
    "MultiAgentLearner": "stacks.multi_agent_learner",
    "MultiAgentPlan": "plans.multi_agent_plan",
    "OneRank": "ranks",
    "PPOLearner": "training.ppo",
    "Ranks": "ranks",
    "SoleLearner": "stacks.sole_learner",
    "StackLearner": "stacks.stack_learner",
    "StackPlan": "plans.multi_agent_plan",
    "StackedAPPOLearner": "stacks.stacked_appo",
    "StackedIMPALALearner": "stacks.stacked_impala",
    "StackedPPOLearner": "stacks.stacked_ppo",
    "StateTree": "learner",
    "TrainingDivergedError": "learner",
    "UpdateReport": "groups.group",
    "choose_device": "plans.device",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"outrider.learner.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
