"""The training settings of all algorithms, by name."""

from __future__ import annotations

from typing import TypeAlias

from outrider.learner.training.appo_settings import APPOSettings
from outrider.learner.training.impala_settings import IMPALASettings
from outrider.learner.training.ppo_settings import PPOSettings

AlgorithmSettings: TypeAlias = PPOSettings | IMPALASettings | APPOSettings

ALGORITHMS: dict[str, type[AlgorithmSettings]] = {
    "ppo": PPOSettings,
    "impala": IMPALASettings,
    "appo": APPOSettings,
}


def settings_class(name: str) -> type[AlgorithmSettings]:
    """Return the training settings of an algorithm. Raises ValueError for one that there is not."""
    if name not in ALGORITHMS:
        raise ValueError(f"outrider-learner knows no algorithm {name!r}; choose from {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]
