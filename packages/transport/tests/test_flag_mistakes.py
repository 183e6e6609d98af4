"""Commands say in one sentence what was typed wrongly."""

from __future__ import annotations

import argparse
from typing import NoReturn

import pytest

from outrider.transport.flag_mistakes import in_our_words, whole_number


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(in_our_words(message, self.prog))


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("run", "--port is missing; see race --help"),
        ("", "RUN is missing; see race --help"),
        ("--port 1", "RUN is missing; see race --help"),
        ("--port", "--port lacks its value; see race --help"),
        ("-p", "--port lacks its value; see race --help"),
        ("--port x run", "--port 'x' is no whole number from 1 to 9"),
        ("--port 0 run", "--port '0' is no whole number from 1 to 9"),
        ("--port 10 run", "--port '10' is no whole number from 1 to 9"),
        ("--port -1 run", "--port '-1' is no whole number from 1 to 9"),
        ("--port 1 run --fast=3", "--fast takes no value; leave out '3'"),
        ("--port 1 run --colour red", "unknown flag --colour; see race --help"),
        ("--port 1 run --colour=red", "unknown flag --colour; see race --help"),
        ("--port 1 run again", "unexpected argument 'again'; see race --help"),
    ],
)
def test_what_was_typed_wrongly_is_said_in_a_sentence(typed: str, sentence: str) -> None:
    parser = Parser(prog="race", allow_abbrev=False)
    parser.add_argument("run")
    parser.add_argument("-p", "--port", type=whole_number(1, 9), required=True)
    parser.add_argument("--fast", action="store_true")
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - compared below
        parser.parse_args(typed.split())
    assert str(refused.value) == sentence


def test_both_ends_can_be_typed() -> None:
    read = whole_number(1, 9)
    assert (read("1"), read("9")) == (1, 9)
