"""Configuration, training loops and the command line of Outrider. Names are imported when they are used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.algorithm.algorithm import Algorithm
    from outrider.algorithm.algorithms import APPOConfig, IMPALAConfig, PPOConfig
    from outrider.algorithm.league.league import League, LeagueSettings
    from outrider.algorithm.run.callback import Callback
    from outrider.algorithm.run.training_run import Outcome, TrainingRun
    from outrider.algorithm.saved.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
    from outrider.algorithm.saved.checkpointed_policy import load_policy
    from outrider.algorithm.saved.run_directory import RunDirectory
    from outrider.algorithm.saved.whole_file import NotWrittenError
    from outrider.algorithm.settings.algorithm_settings import (
        APPORunSettings,
        IMPALARunSettings,
        PPORunSettings,
    )
    from outrider.algorithm.settings.multi_agent_settings import PolicySpec

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
    "APPOConfig": "algorithms",
    "APPORunSettings": "settings.algorithm_settings",
    "Algorithm": "algorithm",
    "Callback": "run.callback",
    "CheckpointError": "saved.checkpoint",
    "IMPALAConfig": "algorithms",
    "IMPALARunSettings": "settings.algorithm_settings",
    "League": "league.league",
    "LeagueSettings": "league.league",
    "NotWrittenError": "saved.whole_file",
    "Outcome": "run.training_run",
    "PPOConfig": "algorithms",
    "PPORunSettings": "settings.algorithm_settings",
    "PolicySpec": "settings.multi_agent_settings",
    "RunDirectory": "saved.run_directory",
    "TrainingRun": "run.training_run",
    "load_policy": "saved.checkpointed_policy",
    "read_checkpoint": "saved.checkpoint",
    "write_checkpoint": "saved.checkpoint",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"outrider.algorithm.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
