from __future__ import annotations

import json
from pathlib import Path

import pytest

from outrider.envrunner.farm import farm_command
from outrider.envrunner.farm.farm_command import main
from outrider.envrunner.farm.farm_flags import orders_of, parser
from outrider.envrunner.farm.runner_orders import RunnerOrders

CART_POLE = ["--connect", "127.0.0.1:1", "--env", "CartPole-v1"]


def orders(*more: str, connect: str = "127.0.0.1:1", environ: dict[str, str] | None = None) -> RunnerOrders:
    flags = parser().parse(["--connect", connect, "--env", "CartPole-v1", *more])
    return orders_of(flags, environ or {})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--conect", "x"], "unknown flag --conect; did you mean --connect?"),
        (["--num-envs-per-env-runner", "4"], "--num-envs-per-env-runner is the run's to set, and its farms"),
        (["--frobnicate"], "unknown flag --frobnicate; see outrider-farm --help"),
        (["CartPole-v1"], "unexpected argument 'CartPole-v1'"),
        (["--env", "CartPole-v1"], "--connect is missing; give it, as in --connect trainer:50051"),
        (["--connect", "trainer:50051"], "--env is missing; give it, as in --env CartPole-v1"),
        (["--connect", "trainer", "--env", "CartPole-v1"], "'trainer' is no address; give host:port"),
        ([*CART_POLE, "--env-config", "{x"], "--env-config '{x' is no JSON"),
        ([*CART_POLE, "--env-config", "3"], "--env-config '3' is no JSON object"),
        ([*CART_POLE, "--tls-ca", "nowhere.pem"], "--tls-ca nowhere.pem cannot be read: No such file"),
        ([*CART_POLE, "--tls-key", "nowhere.pem"], "--tls-certificate and --tls-key belong together"),
        ([*CART_POLE, "--tls-ca", "x", "--insecure"], "--insecure switches TLS off"),
        ([*CART_POLE, "--token-file", "nowhere"], "the token file nowhere cannot be read: No such file"),
        ([*CART_POLE, "--runners", "0"], "--runners '0' is no whole number from 1 to 10000"),
        ([*CART_POLE, "--health-port", "99999"], "--health-port '99999' is no whole number from 0 to 65535"),
        ([*CART_POLE, "--give-up-after", "soon"], "--give-up-after 'soon' is no number of seconds >= 0"),
        (
            [*CART_POLE, "--gym-env-vectorize-mode", "vmap"],
            "--gym-env-vectorize-mode: invalid choice: 'vmap'",
        ),
        ([*CART_POLE, "--policy-mapping-fn", "league"], "'league' names no function; write it as module:f"),
        ([*CART_POLE, "--policy-mapping-fn", ":f"], "':f' names no function; write it as module:function"),
    ],
)
def test_what_was_typed_wrongly_is_said_in_a_sentence(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farm_command, "_require_grpc", lambda: None)  # also where it is not installed
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert line.startswith("outrider-farm: ")
    assert sentence in line


def test_a_mistake_is_an_object_where_json_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CART_POLE, "--env-config", "{x", "--json-logs"]) == 2
    line = json.loads(capsys.readouterr().out)
    assert (line["level"], line["event"]) == ("error", "ended")


@pytest.mark.parametrize(
    ("connect", "more", "is_insecure"),
    [
        ("127.0.0.1:1", [], True),
        ("unix:s", [], True),
        ("trainer:1", [], False),
        ("trainer:1", ["--insecure"], True),
        ("127.0.0.1:1", ["--tls-ca", __file__], False),
    ],
)
def test_tls_is_on_unless_the_gateway_is_on_this_machine_or_it_is_said(
    connect: str, more: list[str], *, is_insecure: bool
) -> None:
    assert orders(*more, connect=connect).insecure is is_insecure


def test_the_token_comes_from_its_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    environ = {"OUTRIDER_TOKEN": "of-the-environment"}
    assert orders("--token-file", str(file), environ=environ).token == "of-the-file"
    assert orders(environ=environ).token == "of-the-environment"
    assert orders().token == ""


def test_the_environment_travels_as_plain_values() -> None:
    assert orders("--env-config", '{"length": 5}').environment == {
        "env": "CartPole-v1",
        "env_config": {"length": 5},
    }


def test_help_says_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert [
        line for line in printed.splitlines() if line.startswith(tuple(f"  {code}  " for code in range(5)))
    ]
    assert "drained after SIGTERM" in printed


def test_a_token_is_never_shown() -> None:
    assert "secret" not in repr(orders(environ={"OUTRIDER_TOKEN": "secret"}))
