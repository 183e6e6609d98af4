"""Lays the parameters of a search over a configuration. Free of whatever searches."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from outrider.algorithm.settings.section import Section
from outrider.envrunner.nearest import did_you_mean

if TYPE_CHECKING:
    from outrider.algorithm.config import AlgorithmConfig

C = TypeVar("C", bound="AlgorithmConfig[Any]")


def with_parameters(config: C, parameters: Mapping[str, Any]) -> C:
    """Return a copy of a configuration in which these settings are replaced.

    They are named with their section, `{"training.lr": 3e-4}` or `{"training": {"lr": 3e-4}}`. Raises
    ValueError for what is no setting, or no value for one.
    """
    config = copy.copy(config)
    kind = type(config)
    for section, settings in _by_section(parameters).items():
        if not isinstance(getattr(kind, section, None), Section):
            sections = [name for name in dir(kind) if isinstance(getattr(kind, name), Section)]
            raise ValueError(
                f"{section!r} is no section of {kind.__name__}, {did_you_mean(section, sections)}; name "
                "parameters as in 'training.lr'"
            )
        getattr(config, section)(**settings)
    return config


def _by_section(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for name, value in parameters.items():
        section, _, setting = name.partition(".")
        given = value if isinstance(value, Mapping) and not setting else {setting: value}
        sections.setdefault(section, {}).update({key: _plain(each) for key, each in given.items()})
    return sections


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a search draws
    return value.item() if isinstance(value, np.generic) else value
