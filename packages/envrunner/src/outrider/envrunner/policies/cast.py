"""Which policies a run has at a time, and who acts for whom: what runners elsewhere are told of changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.wire import decode_settings, encode_settings

Mapped = Matchups | Callable[[str, Episode], str]
"""Who acts for whom; a function is called for each agent when an episode begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cast:
    """What a run's plan says no more as it is.

    As a message:

        {"stacks": [["mlp", "mlp"], ["policy7", "policy2"]], "policies": [["red", 0, "mlp"], ...],
         "mapping": [[1.0, {"0": "red", "1": "blue"}]]}
    """

    stacks: Mapping[str, str]
    """By name, the stack of the plan whose policies act likewise."""
    policies: tuple[PolicyEntry, ...]
    mapping: Mapped | None
    """None where it is the plan's."""

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values. Raises ValueError for a function unless `dump` pickles it."""
        return {
            "stacks": [[name, like] for name, like in self.stacks.items()],
            "policies": [[policy.name, policy.number, policy.stack] for policy in self.policies],
            "mapping": None if self.mapping is None else mapping_message(self.mapping, dump),
        }

    @staticmethod
    def from_message(message: Mapping[str, Any], load: Callable[[bytes], Any] | None = None) -> Cast:
        """Read what `to_message` returned. Raises ValueError for a pickle unless `load` is given."""
        mapping = message["mapping"]
        return Cast(
            stacks=dict(message["stacks"]),
            policies=policies_of(message["policies"]),
            mapping=None if mapping is None else mapping_of(mapping, load),
        )


def policies_of(message: list[Any]) -> tuple[PolicyEntry, ...]:
    """Read policies out of a message."""
    return tuple(PolicyEntry(name=name, number=number, stack=stack) for name, number, stack in message)


def mapping_message(mapping: Mapped, dump: Callable[[Any], bytes] | None) -> list[Any] | dict[str, Any]:
    """Return a mapping as plain values. Raises ValueError for a function unless `dump` pickles it."""
    if isinstance(mapping, Matchups):
        return mapping.to_message()
    return encode_settings(_Function(mapping), dump=dump)


def mapping_of(message: list[Any] | dict[str, Any], load: Callable[[bytes], Any] | None) -> Mapped:
    """Read what `mapping_message` returned. Raises ValueError for a pickle unless `load` is given."""
    if isinstance(message, list):
        return Matchups.from_message(message)
    return decode_settings(_Function, message, load=load).function


@dataclass(frozen=True, slots=True)
class _Function:
    """A mapping function, written as environments given as callables are."""

    function: Callable[[str, Episode], str]
