"""What a test hears of a command."""

from __future__ import annotations

import sys

import pytest

from outrider.testing.command import Command

SAYS_AND_STAYS = "import sys, time; print('port 7', file=sys.stderr, flush=True); time.sleep(60)"


def test_what_is_said_is_found_and_the_process_ends_with_the_block() -> None:
    with Command([sys.executable, "-c", SAYS_AND_STAYS]) as command:
        assert command.wait_for(r"port (\d+)", within_s=10)[1] == "7"
    assert command.wait(within_s=1) < 0


def test_a_command_that_ends_without_saying_it_is_not_waited_for() -> None:
    with Command([sys.executable, "-c", "print('nothing')"]) as command:
        with pytest.raises(AssertionError, match=r"has not said 'port', but:\nnothing"):
            command.wait_for("port", within_s=60)
        assert command.wait(within_s=10) == 0


def test_a_command_that_does_not_end_is_quoted() -> None:
    with Command([sys.executable, "-c", SAYS_AND_STAYS]) as command:
        command.wait_for("port", within_s=10)
        with pytest.raises(AssertionError, match=r"did not end in 0.01 s:\nport 7"):
            command.wait(within_s=0.01)
