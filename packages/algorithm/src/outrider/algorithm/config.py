"""The sections that the configuration of every algorithm has."""

from __future__ import annotations

from outrider.algorithm.checkpointing import CheckpointSettings
from outrider.algorithm.evaluation import EvaluationSettings
from outrider.algorithm.run_settings import DebugSettings, NetworkSettings
from outrider.algorithm.section import Section
from outrider.algorithm.stopping import StopSettings
from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.learner import LearnerGroupSettings


class AlgorithmConfig:
    """A configuration under construction. Every section replaces the given fields and returns the config.

    >>> from outrider.algorithm import PPOConfig
    >>> config = PPOConfig().environment("CartPole-v1").env_runners(num_envs_per_env_runner=8)
    >>> config.settings.env_runners.num_envs_per_env_runner
    8
    """

    environment = Section(EnvironmentSettings)
    env_runners = Section(EnvRunnerSettings)
    learners = Section(LearnerGroupSettings)
    rl_module = Section(NetworkSettings)
    evaluation = Section(EvaluationSettings)
    stopping = Section(StopSettings)
    checkpointing = Section(CheckpointSettings)
    debugging = Section(DebugSettings)
