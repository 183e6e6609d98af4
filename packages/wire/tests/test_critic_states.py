"""What central critics see besides, and its rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.testing.multi_agent_messages import example_team
from outrider.wire import WireError, check_fragment, decode_fragment_frame, encode_fragment, take_streams

TEAM = example_team()
STATES = TEAM.critic_states[""]


def test_a_state_is_sent_once_however_many_rows_need_it() -> None:
    shared = replace(
        TEAM, critic_rows=np.zeros(7, np.int64), critic_states={"": np.array([[1.0, 2.0]])}, others=()
    )
    shared = replace(shared, next_critic_rows=np.zeros(3, np.int64))
    decoded = decode_fragment_frame(encode_fragment(shared))
    assert decoded.critic_states[""].tolist() == [[1.0, 2.0]]
    assert decoded.critic_rows is not None
    assert decoded.critic_rows.tolist() == [0] * 7


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"critic_states": {}}, "only some are there; give all or none"),
        ({"critic_rows": None}, "only some are there; give all or none"),
        ({"next_critic_rows": None}, "only some are there; give all or none"),
        ({"critic_states": {}, "critic_rows": None}, "only some are there; give all or none"),
        ({"critic_rows": np.zeros(6, np.int64)}, r"critic_rows has shape \(6,\); it is \(7,\)"),
        ({"critic_rows": np.zeros(7, np.int32)}, "critic_rows is int32; it is int64"),
        ({"critic_rows": np.full(7, 9)}, "critic_rows has 9 to 9; they number 9 critic_states from 0"),
        ({"critic_rows": np.arange(7) - 1}, "critic_rows has -1 to 5"),
        ({"next_critic_rows": np.zeros(2, np.int64)}, "next_critic_rows has shape"),
        ({"next_critic_rows": np.array([0, 1, 9])}, "next_critic_rows has 0 to 9"),
        ({"critic_states": {"": STATES, "/map": STATES[:8]}}, "critic_states '/map' has shape"),
        ({"critic_states": {"": np.array(1.0)}}, "critic_states '' has shape"),
        ({"critic_states": {"": STATES[:0]}}, "number 0 critic_states"),
    ],
)
def test_a_broken_rule_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_fragment(replace(TEAM, **changes))


def test_rows_of_states_that_are_not_there_are_refused_when_they_come() -> None:
    frame = encode_fragment(replace(TEAM, others=()))
    rows = next(buffer for buffer in frame.buffers if buffer == TEAM.critic_rows.tobytes())  # type: ignore[union-attr]
    place = frame.buffers.index(rows)
    frame.buffers[place] = memoryview(np.full(7, 2**62).tobytes())
    with pytest.raises(WireError, match="they number 9 critic_states from 0"):
        decode_fragment_frame(frame)


def test_a_part_keeps_the_states_and_which_of_them_its_rows_need() -> None:
    part = take_streams(replace(TEAM, others=()), 1, 2)
    check_fragment(part)
    assert part.critic_states[""] is STATES
    assert part.critic_rows is not None
    assert part.next_critic_rows is not None
    assert part.critic_rows.tolist() == [5, 6, 7]
    assert part.next_critic_rows.tolist() == [7, 8]
