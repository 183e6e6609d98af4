"""What users of other libraries type is answered with what it is called here."""

import re

import pytest

from outrider.algorithm.algorithms import config_class
from outrider.algorithm.commands.cli import main
from outrider.algorithm.commands.flags import Parser, add_flags
from outrider.algorithm.commands.flags_elsewhere import NAMES, SENTENCES, said_elsewhere
from outrider.algorithm.commands.train_command import flag_groups

ELSEWHERE = [flag for theirs in (*NAMES.values(), *SENTENCES.values()) for flag in theirs.split()]


def known_flags() -> set[str]:
    parser = Parser(prog="train")
    add_flags(parser, flag_groups(config_class("ppo")()))
    return {flag for action in parser._actions for flag in action.option_strings} | {"--run-dir"}


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("--num-workers", "it is --num-env-runners here"),
        ("--total_timesteps", "it is --stop-num-env-steps here"),
        ("--resume", "`outrider resume RUN_DIR` goes on with a run"),
        ("--gpu", "a learner is given a GPU by --num-gpus-per-learner 1"),
    ],
)
def test_what_is_asked_for_here_is_said(
    typed: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "ppo", "--env", "CartPole-v1", typed, "8"])
    assert capsys.readouterr().err == f"outrider train ppo: unknown flag {typed}; {sentence}\n"


def test_what_this_algorithm_has_not_is_not_recommended(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "impala", "--env", "CartPole-v1", "--clip-range", "0.2"])
    assert "--clip-param here" not in capsys.readouterr().err


def test_all_that_is_recommended_is_there_and_nothing_that_is_there_is_translated() -> None:
    recommended = {flag for sentence in SENTENCES for flag in re.findall(r"--[a-z-]+", sentence)}
    assert NAMES.keys() | recommended - {"--video"} <= known_flags()
    assert not known_flags() & set(ELSEWHERE)
    assert len(ELSEWHERE) == len(set(ELSEWHERE))
    assert all(said_elsewhere(flag, known_flags()) for flag in ELSEWHERE)
