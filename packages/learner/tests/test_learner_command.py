"""What is typed wrongly for `outrider-learner` ends in a sentence and an exit code."""

import errno
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from outrider.learner.service import learner_command
from outrider.learner.service.learner_command import main
from outrider.learner.service.learner_log import print_logs
from outrider.learner.service.torchrun_link import is_torchrun

pytest.importorskip("grpc", reason="the extra grpc is not installed")

HERE = ["--listen", "127.0.0.1:0"]


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    logger = logging.getLogger("outrider")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--listen", "nonsense"], "'nonsense' is no address"),
        (["--listen", "0.0.0.0:0"], "no TLS certificate is given"),
        ([*HERE, "--token-file", "no-such-file"], "the token file no-such-file cannot be read"),
        ([*HERE, "--network-module", "no_such"], "--network-module no_such: there is no such module here"),
    ],
)
def test_a_mistake_ends_in_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert sentence in line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--listen is missing; see outrider-learner --help"),
        ([*HERE, "--health-port", "high"], "--health-port 'high' is no whole number from 0 to 65535"),
        ([*HERE, "--health-port", "99999"], "--health-port '99999' is no whole number from 0 to 65535"),
        ([*HERE, "--num-learners", "0"], "--num-learners '0' is no whole number from 1 to 10000"),
        ([*HERE, "--health", "1"], "unknown flag --health; see outrider-learner --help"),
    ],
)
def test_a_flag_that_cannot_be_ends_in_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"outrider-learner: {sentence}\n"


def test_a_health_port_that_is_taken_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> None:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    monkeypatch.setattr(learner_command, "Health", taken)
    monkeypatch.setattr("outrider.transport.grpc_listener.Listener", Mock())
    assert main([*HERE, "--health-port", "7"]) == 2
    assert "--health-port 7 cannot be opened: Address already in use" in capsys.readouterr().out


def test_a_traceback_comes_with_debug_only(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--listen", "nonsense", "--debug"])
    assert "Traceback" in capsys.readouterr().out


def test_a_token_is_not_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a secret with spaces\n")
    assert main([*HERE, "--token-file", str(tmp_path / "token")]) == 2
    assert "secret" not in capsys.readouterr().out


def test_json_logs_are_an_object_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_logs(as_json=True, debug=False)
    logging.getLogger("outrider.learner").warning("went back by %d", 3)
    line = json.loads(capsys.readouterr().out)
    assert (line["level"], line["text"]) == ("warning", "went back by 3")


def test_a_warning_is_a_line_like_others(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        print_logs(as_json=False, debug=False)
        warnings.warn("fcnet_hiddens is ignored", stacklevel=1)
    assert capsys.readouterr().out == "outrider-learner: fcnet_hiddens is ignored\n"


def test_one_process_is_no_group_under_torchrun() -> None:
    assert not is_torchrun({})
    assert not is_torchrun({"RANK": "0", "WORLD_SIZE": "1"})
    assert is_torchrun({"RANK": "0", "WORLD_SIZE": "2"})
