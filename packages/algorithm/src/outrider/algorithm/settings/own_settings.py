"""What one policy has of its own: settings that differ from those of the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from outrider.algorithm.settings.setting_value import convert, field_types
from outrider.envrunner.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

S = TypeVar("S")

OF_THE_RUN = (
    "train_batch_size_per_learner",
    "min_time_s_per_iteration",
    "max_staleness",
    "learner_queue_size",
)
"""Training settings that no policy can have of its own."""


def own_settings(policy: str, section: str, of_the_run: S, given: Mapping[str, Any]) -> S:
    """Return the settings of a section with what `policy` has of its own. Raises ValueError."""
    if not given:
        return of_the_run
    values = own_values(policy, section, of_the_run, given)
    try:
        return replace(of_the_run, **values)  # type: ignore[type-var]
    except ValueError as error:
        raise ValueError(f"policy {policy!r}: {error}") from None


def own_values(policy: str, section: str, of_the_run: Any, given: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    """Return the given settings, each as its field wants it. Raises ValueError, naming the policy."""
    kinds = field_types(type(of_the_run))
    values = {}
    for name, value in given.items():
        if name not in kinds:
            raise ValueError(
                f"policy {policy!r} has {section} setting {name!r}, which there is not; "
                f"{did_you_mean(name, kinds)}"
            )
        if name in OF_THE_RUN:
            raise ValueError(
                f"policy {policy!r} has {name}={value!r} of its own, and all policies share an update; "
                f"give it with config.{section}({name}=...)"
            )
        try:
            values[name] = convert(value, kinds[name])
        except ValueError as error:
            raise ValueError(f"policy {policy!r}: {section} setting {name}: {error}") from None
    return values
