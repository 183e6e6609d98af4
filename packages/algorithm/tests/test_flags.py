from __future__ import annotations

from dataclasses import dataclass

import pytest

from outrider.algorithm.commands import evaluate_command
from outrider.algorithm.commands.cli import one_line_each
from outrider.algorithm.commands.flags import FlagGroup, Parser, add_flags, given_settings
from outrider.algorithm.settings.field_docs import field_docs


@dataclass(frozen=True, kw_only=True)
class Speed:
    lambda_: float = 0.95
    """Weight of longer
    returns, in 100 %."""
    is_fast: bool = True
    """Whether to hurry."""
    num_wheels: int | None = None


@dataclass(frozen=True, kw_only=True)
class Racing(Speed):
    num_wheels: int | None = 4
    """How many."""


GROUPS = [FlagGroup(section="speed", settings=Speed)]


def parse(*arguments: str) -> dict[str, object]:
    parser = Parser(prog="race")
    add_flags(parser, GROUPS)
    return given_settings(parser.parse(arguments), GROUPS)["speed"]


def test_only_what_was_typed_is_given() -> None:
    assert parse() == {}
    assert parse("--lambda", "0.5", "--no-is-fast", "--num-wheels=3") == {
        "lambda_": 0.5,
        "is_fast": False,
        "num_wheels": 3,
    }
    assert parse("--num-wheels", "none") == {"num_wheels": None}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--lamda", "1"], "race: unknown flag --lamda; did you mean --lambda?\n"),
        (["--xyz=1"], "race: unknown flag --xyz; see race --help\n"),
        (["--num", "1"], "race: unknown flag --num; did you mean --num-wheels?\n"),
        (["--lambda", "high"], "race: --lambda 'high' is not a number\n"),
        (["--lambda"], "race: --lambda lacks its value; see race --help\n"),
        (["--is-fast=3"], "race: --is-fast takes no value; leave out '3'\n"),
        (["stray"], "race: unexpected argument 'stray'; see race --help\n"),
        (["--lamb", "1"], "race: unknown flag --lamb; did you mean --lambda?\n"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == sentence


def test_the_help_is_what_stands_under_the_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "--lambda X Weight of longer returns, in 100 %. (default: 0.95)" in text
    assert "--num-wheels N|none (default: none)" in text


def test_inherited_flags_stand_last_and_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="race")
    add_flags(parser, [FlagGroup(section="racing", settings=Racing)])
    with pytest.raises(SystemExit):
        parser.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.index("--num-wheels N|none How many.") < text.index("--lambda X Weight of longer returns")


def test_field_docs_are_inherited_and_overridden() -> None:
    assert field_docs(Racing) == {
        "lambda_": "Weight of longer returns, in 100 %.",
        "is_fast": "Whether to hurry.",
        "num_wheels": "How many.",
    }


def test_a_warning_is_one_line_however_often_it_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    say = one_line_each()
    for text in ("a is ignored", "b is ignored", "a is ignored"):
        say(UserWarning(text), UserWarning, "file.py", 1)
    assert capsys.readouterr().err == "outrider: a is ignored\noutrider: b is ignored\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "RUN is missing; see outrider evaluate --help"),
        (["run", "--seed", "x"], "--seed 'x' is not a whole number"),
        (["run", "--num-episodes", "1.5"], "--num-episodes '1.5' is not a whole number"),
        (["run", "--num-episodes", "0"], "--num-episodes 0 is too few; give at least 1"),
        (["run", "--video"], "--video lacks its value; see outrider evaluate --help"),
    ],
)
def test_what_evaluate_cannot_read_is_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        evaluate_command.run(arguments)
    assert capsys.readouterr().err == f"outrider evaluate: {sentence}\n"
