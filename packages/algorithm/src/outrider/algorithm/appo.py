"""APPO: its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from outrider.algorithm.config import AlgorithmConfig
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.algorithm.settings.section import Section
from outrider.learner.training.appo_settings import APPOSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class APPORunSettings(RunSettings):
    """All settings of a run of APPO."""

    training: APPOSettings = field(default_factory=APPOSettings)


class APPOConfig(AlgorithmConfig[APPORunSettings]):
    """Configures asynchronous PPO: IMPALA with PPO's clipping and a target network (Luo et al. 2020).

    algo = APPOConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build()
    """

    name: ClassVar[str] = "appo"
    settings_class = APPORunSettings
    training = Section(APPOSettings)
