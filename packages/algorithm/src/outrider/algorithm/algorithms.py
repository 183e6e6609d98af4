"""The algorithms by name. Imports one only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from outrider.algorithm.settings.setting_value import from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.algorithm.config import AlgorithmConfig

ALGORITHMS = {
    "ppo": "outrider.algorithm.ppo:PPOConfig",
    "impala": "outrider.algorithm.impala:IMPALAConfig",
    "appo": "outrider.algorithm.appo:APPOConfig",
}


def config_class(name: str) -> type[AlgorithmConfig[Any]]:
    """Return the configuration of an algorithm. Raises ValueError with the nearest name."""
    if name not in ALGORITHMS:
        from outrider.envrunner.nearest import did_you_mean

        raise ValueError(f"there is no algorithm {name!r}; {did_you_mean(name.lower(), ALGORITHMS)}")
    module, _, attribute = ALGORITHMS[name].partition(":")
    found: type[AlgorithmConfig[Any]] = getattr(import_module(module), attribute)
    return found


def config_from_json(name: str, settings: Mapping[str, Any]) -> AlgorithmConfig[Any]:
    """Return the configuration that `to_json` wrote. Raises ValueError."""
    kind = config_class(name)
    return kind.from_settings(from_json(kind.settings_class, settings))
