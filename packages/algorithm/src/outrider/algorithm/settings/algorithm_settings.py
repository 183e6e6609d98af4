"""All settings of a run of each algorithm, and how they are read again from where a run recorded them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from outrider.algorithm.settings.run_settings import RunSettings
from outrider.algorithm.settings.setting_value import from_json
from outrider.envrunner.nearest import no_such
from outrider.learner import PPOSettings
from outrider.learner.training.appo_settings import APPOSettings
from outrider.learner.training.impala_settings import IMPALASettings


@dataclass(frozen=True, kw_only=True, slots=True)
class PPORunSettings(RunSettings):
    """All settings of a run of PPO."""

    algorithm: ClassVar[str] = "ppo"
    training: PPOSettings = field(default_factory=PPOSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class IMPALARunSettings(RunSettings):
    """All settings of a run of IMPALA."""

    algorithm: ClassVar[str] = "impala"
    training: IMPALASettings = field(default_factory=IMPALASettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class APPORunSettings(RunSettings):
    """All settings of a run of APPO."""

    algorithm: ClassVar[str] = "appo"
    training: APPOSettings = field(default_factory=APPOSettings)


def settings_from_json(algorithm: str, settings: Mapping[str, Any]) -> RunSettings:
    """Return the settings that `to_json` wrote. Raises ValueError."""
    kinds = {kind.algorithm: kind for kind in (PPORunSettings, IMPALARunSettings, APPORunSettings)}
    if algorithm not in kinds:
        raise ValueError(no_such("algorithm", algorithm, kinds))
    read: RunSettings = from_json(kinds[algorithm], settings)
    return read
