"""Puts the names of policies and agents where a learner, which knows numbers only, speaks of them."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from outrider.learner import TrainingDivergedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOGGER = logging.getLogger("outrider.learner")
NUMBERED = re.compile(r"\b(policy|agent) number (\d+)")


class NamesSaid:
    """Knows the names by number; what has none is left as it is."""

    def __init__(self, policies: Mapping[int, str], agents: Mapping[int, str]) -> None:
        """Take the names that there are now."""
        self._names = {"policy": policies, "agent": agents}

    def in_sentence(self, sentence: str) -> str:
        """Return a sentence with names.

        >>> NamesSaid({3: "red"}, {}).in_sentence("policy number 3: lower lr")
        "policy 'red': lower lr"
        """
        return NUMBERED.sub(self._name, sentence)

    def filter(self, record: logging.LogRecord) -> bool:
        """Do the same to what is logged."""
        record.msg, record.args = self.in_sentence(record.getMessage()), ()
        return True

    @contextmanager
    def during_an_update(self) -> Iterator[None]:
        """Do the same to what is logged in this process, and to the error that ends training."""
        LOGGER.addFilter(self.filter)
        try:
            yield
        except TrainingDivergedError as error:
            raise TrainingDivergedError(self.in_sentence(str(error))) from error
        finally:
            LOGGER.removeFilter(self.filter)

    def _name(self, found: re.Match[str]) -> str:
        kind, number = found[1], int(found[2])
        names = self._names[kind]
        return f"{kind} {names[number]!r}" if number in names else found[0]
