"""Turns fragments into new weights. Importing a name of torch's imports torch."""

from importlib import import_module
from typing import TYPE_CHECKING

from outrider.learner.algorithm_settings import settings_class
from outrider.learner.algorithms import make_learner, make_stacked_learner
from outrider.learner.appo_settings import APPOSettings
from outrider.learner.impala_settings import IMPALASettings
from outrider.learner.learner_group import LearnerGroupSettings
from outrider.learner.ppo_settings import PPOSettings
from outrider.learner.schedule import Schedule

if TYPE_CHECKING:
    from outrider.learner.appo import APPOLearner
    from outrider.learner.async_group import LocalAsyncLearnerGroup
    from outrider.learner.device import choose_device
    from outrider.learner.group import (
        AsyncLearnerGroup,
        LearnerGroup,
        LearnerGroupStatistics,
        LocalLearnerGroup,
        UpdateReport,
    )
    from outrider.learner.impala import IMPALALearner
    from outrider.learner.learner import Learner, StateTree
    from outrider.learner.learner_loop import LearnerLoop
    from outrider.learner.learner_plan import LearnerPlan
    from outrider.learner.mesh_ranks import MeshRanks
    from outrider.learner.multi_agent_learner import MultiAgentLearner
    from outrider.learner.multi_agent_plan import MultiAgentPlan, StackPlan
    from outrider.learner.non_finite import TrainingDivergedError
    from outrider.learner.ppo import PPOLearner
    from outrider.learner.ranks import OneRank, Ranks
    from outrider.learner.sole_learner import SoleLearner
    from outrider.learner.stack_learner import StackLearner
    from outrider.learner.stacked_appo import StackedAPPOLearner
    from outrider.learner.stacked_impala import StackedIMPALALearner
    from outrider.learner.stacked_ppo import StackedPPOLearner

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
    "APPOLearner": "appo",
    "AsyncLearnerGroup": "group",
    "IMPALALearner": "impala",
    "Learner": "learner",
    "LearnerGroup": "group",
    "LearnerGroupStatistics": "group",
    "LearnerLoop": "learner_loop",
    "LearnerPlan": "learner_plan",
    "LocalAsyncLearnerGroup": "async_group",
    "LocalLearnerGroup": "group",
    "MeshRanks": "mesh_ranks",
    "MultiAgentLearner": "multi_agent_learner",
    "MultiAgentPlan": "multi_agent_plan",
    "OneRank": "ranks",
    "PPOLearner": "ppo",
    "Ranks": "ranks",
    "SoleLearner": "sole_learner",
    "StackLearner": "stack_learner",
    "StackPlan": "multi_agent_plan",
    "StackedAPPOLearner": "stacked_appo",
    "StackedIMPALALearner": "stacked_impala",
    "StackedPPOLearner": "stacked_ppo",
    "StateTree": "learner",
    "TrainingDivergedError": "non_finite",
    "UpdateReport": "group",
    "choose_device": "device",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"outrider.learner.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
