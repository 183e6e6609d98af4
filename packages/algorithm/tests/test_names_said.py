from __future__ import annotations

import pytest

from outrider.algorithm.policies.names_said import LOGGER, NamesSaid
from outrider.learner import TrainingDivergedError

NAMES = NamesSaid({0: "red", 12: "blue"}, {1: "left"})


def test_numbers_become_names_where_there_are_any() -> None:
    assert NAMES.in_sentence("first of agent number 1, policy number 12: mend it") == (
        "first of agent 'left', policy 'blue': mend it"
    )
    assert NAMES.in_sentence("policy number 1, agent number 0") == "policy number 1, agent number 0"


def test_what_a_learner_logs_and_raises_has_names_while_it_updates(caplog: pytest.LogCaptureFixture) -> None:
    def diverge() -> None:
        LOGGER.warning("steps are skipped because of %s", "policy number 0")
        raise TrainingDivergedError("policy number 12: 9 gradient steps in a row were skipped")

    with pytest.raises(TrainingDivergedError, match="policy 'blue': 9 gradient"), NAMES.during_an_update():
        diverge()
    LOGGER.warning("policy number 0")
    assert caplog.messages == ["steps are skipped because of policy 'red'", "policy number 0"]
