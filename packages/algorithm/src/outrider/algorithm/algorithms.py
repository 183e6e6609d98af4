"""The algorithms: their configurations, also by name."""

from __future__ import annotations

from typing import Any

from outrider.algorithm.config import AlgorithmConfig
from outrider.algorithm.settings.algorithm_settings import (
    APPORunSettings,
    IMPALARunSettings,
    PPORunSettings,
)
from outrider.algorithm.settings.section import Section
from outrider.envrunner.nearest import did_you_mean
from outrider.learner import PPOSettings
from outrider.learner.training.appo_settings import APPOSettings
from outrider.learner.training.impala_settings import IMPALASettings


class PPOConfig(AlgorithmConfig[PPORunSettings]):
    """Configures proximal policy optimisation (Schulman et al. 2017).

    algo = PPOConfig().environment("CartPole-v1").training(lr=3e-4).build()
    """

    settings_class = PPORunSettings
    training = Section(PPOSettings)


class IMPALAConfig(AlgorithmConfig[IMPALARunSettings]):
    """Configures IMPALA: runners and a learner that never wait for each other (Espeholt et al. 2018).

    algo = IMPALAConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build()
    """

    settings_class = IMPALARunSettings
    training = Section(IMPALASettings)


class APPOConfig(AlgorithmConfig[APPORunSettings]):
    """Configures asynchronous PPO: IMPALA with PPO's clipping and a target network (Luo et al. 2020).

    algo = APPOConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build()
    """

    settings_class = APPORunSettings
    training = Section(APPOSettings)


ALGORITHMS: dict[str, type[AlgorithmConfig[Any]]] = {
    config.settings_class.algorithm: config for config in (PPOConfig, IMPALAConfig, APPOConfig)
}


def config_class(name: str) -> type[AlgorithmConfig[Any]]:
    """Return the configuration of an algorithm. Raises ValueError with the nearest name."""
    if name not in ALGORITHMS:
        raise ValueError(f"there is no algorithm {name!r}; {did_you_mean(name.lower(), ALGORITHMS)}")
    return ALGORITHMS[name]
