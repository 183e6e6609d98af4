"""What one can type after `outrider-farm`, checked before anything starts. Mistakes are ValueErrors."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from outrider.envrunner.farm.farm_ending import Ending
from outrider.envrunner.farm.runner_orders import RunnerOrders
from outrider.transport.addresses import is_loopback, parse_address, read_tokens
from outrider.transport.flag_mistakes import in_our_words, whole_number
from outrider.wire import encode_settings

_EXIT_CODES = """exit codes:
  0    the run is over, or the farm was drained after SIGTERM or Ctrl-C
  1    failed: the environment broke before any runner could join, or it was stopped at once
  2    what was typed cannot be: a flag, a value, a file, an environment
  3    refused by the gateway: versions, spaces, settings, token, certificate
  4    gave up: no gateway for --give-up-after seconds
"""


_REQUIRED = {"--connect": "trainer:50051", "--env": "CartPole-v1"}


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence without the usage, which would bury it."""
        sys.stderr.write(f"{self.prog}: {in_our_words(message, self.prog)}\n")
        raise SystemExit(Ending.UNUSABLE.exit_code)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse, and name the nearest flag to one that does not exist."""
        namespace, unknown = self.parse_known_args(arguments)
        for word in unknown:
            if not word.startswith("-"):
                self.error(f"unexpected argument {word!r}; see {self.prog} --help")
            flags = [flag for action in self._actions for flag in action.option_strings]
            name = word.partition("=")[0]
            if name in _flags_of_the_run():
                self.error(f"{name} is the run's to set, and its farms follow; give it to outrider train")
            close = difflib.get_close_matches(name, flags, n=2, cutoff=0.6)
            cure = f"did you mean {' or '.join(close)}?" if close else f"see {self.prog} --help"
            self.error(f"unknown flag {name}; {cure}")
        for flag, example in _REQUIRED.items():
            if getattr(namespace, flag.lstrip("-")) is None:
                self.error(f"{flag} is missing; give it, as in {flag} {example}")
        return namespace


def _flags_of_the_run() -> set[str]:
    from outrider.envrunner.settings import EnvRunnerSettings

    return {f"--{field.name.replace('_', '-')}" for field in fields(EnvRunnerSettings)}


def parser() -> Parser:
    """Return what reads the command line."""
    made = Parser(
        prog="outrider-farm",
        description="Run environments for a training run elsewhere: dial its gateway, sample, hand in.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--connect", metavar="HOST:PORT", help="where the gateway listens; or unix:PATH")
    add("--env", help="a registered id, module:Id-v0, or module:function that makes one")
    add("--env-config", default="{}", metavar="JSON", help="keyword arguments of the environment")
    add(
        "--runners",
        type=whole_number(1, 10_000),
        default=1,
        metavar="N",
        help="runner processes (default: 1)",
    )
    add(
        "--gym-env-vectorize-mode",
        choices=["sync", "async", "vector_entry_point"],
        default="sync",
        help="how one runner steps its copies; must show the spaces that the run has (default: sync)",
    )
    add(
        "--policy-mapping-fn",
        metavar="MODULE:FUNCTION",
        help="who acts for whom, for runs with several agents that map them by a function",
    )
    add("--name", default=None, help="what operators call this farm (default: this host's name)")
    add("--token-file", metavar="FILE", help="holds the gateway's token (default: $OUTRIDER_TOKEN)")
    add("--tls-ca", metavar="FILE", help="PEM of who signed the gateway's certificate (default: system's)")
    add("--tls-certificate", metavar="FILE", help="PEM with this farm's certificate, for mutual TLS")
    add("--tls-key", metavar="FILE", help="PEM with its key")
    add("--insecure", action="store_true", help="do without TLS, also to other machines")
    add(
        "--give-up-after",
        type=_seconds,
        default=3600.0,
        metavar="S",
        help="seconds without a gateway until the farm ends (default: 3600)",
    )
    add(
        "--drain-timeout",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="seconds after SIGTERM for what the gateway has asked for (default: 30)",
    )
    add(
        "--health-port",
        type=whole_number(0, 65_535),
        metavar="PORT",
        help="answer /healthz and /readyz there",
    )
    add("--json-logs", action="store_true", help="one JSON object to a line")
    add("--debug", action="store_true", help="print tracebacks")
    add("--version", action="version", version=f"outrider-farm {version('outrider-envrunner')}")
    return made


def orders_of(flags: argparse.Namespace, environ: Mapping[str, str]) -> RunnerOrders:
    """Return what each runner of the farm is to do. Raises ValueError in one sentence."""
    parse_address(flags.connect)
    has_tls = flags.tls_ca or flags.tls_certificate or flags.tls_key
    if flags.insecure and has_tls:
        raise ValueError("--insecure switches TLS off, and files for TLS are given; leave out one of them")
    if bool(flags.tls_certificate) != bool(flags.tls_key):
        raise ValueError("--tls-certificate and --tls-key belong together; give both or neither")
    for flag in ("tls_ca", "tls_certificate", "tls_key"):
        _require_file(f"--{flag.replace('_', '-')}", getattr(flags, flag))
    tokens = read_tokens(flags.token_file, environ)
    return RunnerOrders(
        address=flags.connect,
        name=flags.name or socket.gethostname(),
        component="outrider-farm",
        environment=_environment(flags),
        vectorize_mode=flags.gym_env_vectorize_mode,
        policy_mapping_fn=_function(flags.policy_mapping_fn),
        insecure=flags.insecure or (is_loopback(flags.connect) and not has_tls),
        ca=flags.tls_ca,
        certificate=flags.tls_certificate,
        key=flags.tls_key,
        token=tokens[0] if tokens else "",
        give_up_after_s=flags.give_up_after,
        drain_s=flags.drain_timeout,
        debug=flags.debug,
    )


def _function(name: str | None) -> str | None:
    if name is not None and not all(name.partition(":")):
        raise ValueError(f"--policy-mapping-fn {name!r} names no function; write it as module:function")
    return name


def _environment(flags: argparse.Namespace) -> dict[str, Any]:
    from outrider.envrunner.environments.environment import EnvironmentSettings

    try:
        config = json.loads(flags.env_config)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"--env-config {flags.env_config!r} is no JSON ({error}); write it as '{{\"length\": 5}}'"
        ) from error
    if not isinstance(config, dict):
        raise ValueError(
            f"--env-config {flags.env_config!r} is no JSON object; write it as '{{\"length\": 5}}'"
        )
    return encode_settings(EnvironmentSettings(flags.env, env_config=config))


def _require_file(flag: str, name: str | None) -> None:
    if name is None:
        return
    try:
        with Path(name).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"{flag} {name} cannot be read: {os.strerror(error.errno or 0)}") from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds >= 0")
    return seconds
