"""Configuration, training loops and the command line of Outrider. Names are imported when they are used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.appo import APPOConfig, APPORunSettings
    from outrider.algorithm.callback import Callback
    from outrider.algorithm.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
    from outrider.algorithm.checkpointed_policy import load_policy
    from outrider.algorithm.impala import IMPALAConfig, IMPALARunSettings
    from outrider.algorithm.league import League, LeagueSettings
    from outrider.algorithm.multi_agent_settings import PolicySpec
    from outrider.algorithm.ppo import PPOConfig, PPORunSettings
    from outrider.algorithm.run_directory import RunDirectory
    from outrider.algorithm.training_run import Outcome, TrainingRun
    from outrider.algorithm.whole_file import NotWrittenError

__all__ = [
    "APPOConfig",
    "APPORunSettings",
    "Algorithm",
    "Callback",
    "CheckpointError",
    "IMPALAConfig",
    "IMPALARunSettings",
    "League",
    "LeagueSettings",
    "NotWrittenError",
    "Outcome",
    "PPOConfig",
    "PPORunSettings",
    "PolicySpec",
    "RunDirectory",
    "TrainingRun",
    "load_policy",
    "read_checkpoint",
    "write_checkpoint",
]

_HOMES = {
    "APPOConfig": "appo",
    "APPORunSettings": "appo",
    "Algorithm": "algorithm",
    "Callback": "callback",
    "CheckpointError": "checkpoint",
    "IMPALAConfig": "impala",
    "IMPALARunSettings": "impala",
    "League": "league",
    "LeagueSettings": "league",
    "NotWrittenError": "whole_file",
    "Outcome": "training_run",
    "PPOConfig": "ppo",
    "PPORunSettings": "ppo",
    "PolicySpec": "multi_agent_settings",
    "RunDirectory": "run_directory",
    "TrainingRun": "training_run",
    "load_policy": "checkpointed_policy",
    "read_checkpoint": "checkpoint",
    "write_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"outrider.algorithm.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
