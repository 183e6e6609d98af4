"""PPO: its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from outrider.algorithm.config import AlgorithmConfig
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.algorithm.settings.section import Section
from outrider.learner import PPOSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class PPORunSettings(RunSettings):
    """All settings of a run of PPO."""

    training: PPOSettings = field(default_factory=PPOSettings)


class PPOConfig(AlgorithmConfig[PPORunSettings]):
    """Configures proximal policy optimisation (Schulman et al. 2017).

    algo = PPOConfig().environment("CartPole-v1").training(lr=3e-4).build()
    """

    name: ClassVar[str] = "ppo"
    settings_class = PPORunSettings
    training = Section(PPOSettings)
