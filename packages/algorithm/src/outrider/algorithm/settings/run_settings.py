"""All settings of a run, one dataclass for each section of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from outrider.algorithm.settings.checkpointing import CheckpointSettings
from outrider.algorithm.settings.evaluation_settings import EvaluationSettings
from outrider.algorithm.settings.multi_agent_settings import MultiAgentSettings
from outrider.algorithm.settings.resource_settings import ResourceSettings
from outrider.algorithm.settings.stopping import StopSettings
from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.learner import LearnerGroupSettings
from outrider.learner.training.algorithm_settings import AlgorithmSettings
from outrider.rlmodule import ModuleSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class DebugSettings:
    """What makes a run repeatable."""

    seed: int | None = None
    """Seed of everything random: environments, actions, initial weights, minibatches. The same seed
    gives the same weights on the same machine. None: one is drawn and recorded."""

    def __post_init__(self) -> None:
        """Check the range."""
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} is out of range; give a whole number from 0 to {2**32 - 1}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSettings(ModuleSettings):
    """The policy's module: a network of the catalogue, or your own."""

    network: Callable[..., Any] | None = None
    """Makes your own network from observation space, action space and number of action parameters; it
    obeys `outrider.rlmodule.RLModule`. None: the catalogue's, as the other settings say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What every algorithm has; each says what its own `training` settings are."""

    algorithm: ClassVar[str]
    """As the command line has it."""
    environment: EnvironmentSettings
    env_runners: EnvRunnerSettings = field(default_factory=EnvRunnerSettings)
    learners: LearnerGroupSettings = field(default_factory=LearnerGroupSettings)
    training: AlgorithmSettings
    rl_module: NetworkSettings = field(default_factory=NetworkSettings)
    multi_agent: MultiAgentSettings = field(default_factory=MultiAgentSettings)
    resources: ResourceSettings = field(default_factory=ResourceSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    stopping: StopSettings = field(default_factory=StopSettings)
    checkpointing: CheckpointSettings = field(default_factory=CheckpointSettings)
    debugging: DebugSettings = field(default_factory=DebugSettings)
