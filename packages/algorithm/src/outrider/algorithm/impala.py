"""IMPALA: its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from outrider.algorithm.config import AlgorithmConfig
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.algorithm.settings.section import Section
from outrider.learner.training.impala_settings import IMPALASettings


@dataclass(frozen=True, kw_only=True, slots=True)
class IMPALARunSettings(RunSettings):
    """All settings of a run of IMPALA."""

    training: IMPALASettings = field(default_factory=IMPALASettings)


class IMPALAConfig(AlgorithmConfig[IMPALARunSettings]):
    """Configures IMPALA: runners and a learner that never wait for each other (Espeholt et al. 2018).

    algo = IMPALAConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build()
    """

    name: ClassVar[str] = "impala"
    settings_class = IMPALARunSettings
    training = Section(IMPALASettings)
