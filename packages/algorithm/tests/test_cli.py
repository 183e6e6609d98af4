from __future__ import annotations

import sys
from importlib.metadata import version
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from outrider.algorithm.algorithms import config_class
from outrider.algorithm.commands import plot_command
from outrider.algorithm.commands.cli import main, one_line_each
from outrider.algorithm.saved.run_directory import RunDirectory


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"outrider {version('outrider-algorithm')}\n"


def test_a_warning_of_gymnasium_loses_its_colours(capsys: pytest.CaptureFixture[str]) -> None:
    say = one_line_each()
    say(UserWarning("\x1b[33mWARN: The reward is a NaN value.\x1b[0m"), UserWarning, "file.py", 1)
    assert capsys.readouterr().err == "outrider: The reward is a NaN value.\n"


def test_what_a_terminal_cannot_show_ends_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = RunDirectory.create("läuft", {})
    directory.append_progress({"iteration": 1, "num_env_steps": 1})
    written = BytesIO()
    screen = TextIOWrapper(written, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["plot", "läuft", "-o", "läuft.png"]) == 0
    screen.flush()
    assert written.getvalue() == b"curve  l?uft.png\n"


def test_an_algorithm_in_capitals_is_recognised() -> None:
    with pytest.raises(ValueError, match="'PPO'; did you mean ppo"):
        config_class("PPO")


def test_an_error_of_the_users_code_is_a_sentence_that_says_how_to_see_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def theirs(cause: type[Exception]) -> None:
        raise cause("theirs")

    def fail(cause: type[Exception]) -> None:
        def run(_: object) -> int:
            try:
                theirs(cause)
            except cause as error:
                raise ValueError("the mapping raised; mend it") from error
            return 0

        monkeypatch.setattr(plot_command, "run", run)

    fail(KeyError)
    assert main(["plot"]) == 1
    assert capsys.readouterr().err == (
        "outrider: the mapping raised; mend it (OUTRIDER_TRACEBACK=1 shows where)\n"
    )
    fail(OSError)
    assert main(["plot"]) == 1
    assert capsys.readouterr().err == "outrider: the mapping raised; mend it\n"
