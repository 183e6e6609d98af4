"""The command `outrider-learner`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from outrider.learner.service.learner_log import print_logs
from outrider.learner.service.service_terms import LIMITS, SERVICE
from outrider.transport.addresses import check_listen, read_tokens
from outrider.transport.flag_mistakes import in_our_words, whole_number
from outrider.transport.health import Health
from outrider.transport.security import ServerSecurity

if TYPE_CHECKING:
    from outrider.learner.service.learner_service import LearnerService
    from outrider.learner.service.served_groups import ServedGroups

_GRACE_S = 10.0
"""For who is connected to take what is under way: the state of a thousand policies may be 100 MB."""
_EPILOG = """\
exit codes: 0 told to stop by SIGTERM or SIGINT; 1 a learner was lost, or something else went wrong;
2 what was typed cannot be.

Under torchrun, every rank is a learner, and rank 0 listens:
  torchrun --nproc-per-node 8 --max-restarts 100 \\
    -m outrider.learner.service.learner_command --listen 0.0.0.0:50052
"""
_LOGGER = logging.getLogger("outrider.learner.service")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train for whoever dials until a signal says stop, and return the exit code."""
    flags = _parser().parse_args(arguments)
    print_logs(as_json=flags.json_logs, debug=flags.debug)
    try:
        return _serve(flags)
    except (ValueError, OSError) as error:
        _LOGGER.log(logging.ERROR, "%s", _sentence(error), exc_info=flags.debug)
        return 2
    except Exception as error:
        _LOGGER.log(logging.ERROR, "%s: %s", type(error).__name__, error, exc_info=flags.debug)
        return 1


def _serve(flags: argparse.Namespace) -> int:
    if find_spec("grpc") is None:
        raise ValueError(
            'a learner service needs gRPC; install it with: pip install "outrider-learner[grpc]"'
        )
    security = ServerSecurity(
        certificate=flags.tls_certificate,
        key=flags.tls_key,
        client_ca=flags.tls_client_ca,
        tokens=read_tokens(flags.token_file, os.environ),
    )
    check_listen(flags.listen, security, insecure=flags.insecure)
    _check(flags)
    from outrider.learner.service.torchrun_link import Link, is_torchrun

    if not is_torchrun(os.environ):
        return _listen(flags, security, _groups(flags.num_learners))
    if flags.num_learners is not None:
        raise ValueError("--num-learners is for Ray, and torchrun started this; give one of them up")
    from outrider.learner.service.torchrun_groups import TorchrunGroups
    from outrider.learner.service.torchrun_rank import TorchrunRank

    link = Link()
    if link.rank:
        # torchrun sends its signals to all; rank 0 says when the others may go.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        TorchrunRank(link, network_modules=flags.network_module).serve()
        code = 0
    else:
        code = _listen(flags, security, TorchrunGroups(link, network_modules=flags.network_module))
    link.close()
    return code


def _check(flags: argparse.Namespace) -> None:
    for name in flags.network_module:
        if find_spec(name.partition(".")[0]) is None:
            raise ValueError(
                f"--network-module {name}: there is no such module here; install it, or start where Python "
                "finds it"
            )


def _groups(num_learners: int | None) -> ServedGroups:
    if num_learners is None:
        from outrider.learner.service.served_groups import OneLearner

        return OneLearner()
    if find_spec("ray") is None:
        raise ValueError(
            '--num-learners needs Ray; install it with: pip install "outrider-learner[grpc,ray]"'
        )
    from outrider.learner.service.ray_served_groups import RayGroups

    return RayGroups(num_learners)


def _listen(flags: argparse.Namespace, security: ServerSecurity, groups: ServedGroups) -> int:
    from outrider.learner.service.learner_service import LearnerService
    from outrider.transport.grpc_listener import Listener

    service = LearnerService(groups, network_modules=flags.network_module)

    def stop(number: int, _: object) -> None:
        service.stop(f"the learner service was told to stop ({signal.Signals(number).name})")

    with ExitStack() as stack:
        stack.callback(groups.close)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        listener = Listener(flags.listen, {SERVICE: service}, security=security, limits=LIMITS)
        stack.callback(listener.close, _GRACE_S)
        if flags.health_port is not None:
            health = _health(flags.health_port, service)
            stack.callback(health.close)
            _LOGGER.info("health port %d", health.port)
        _LOGGER.info("listens at %s, learners: %d", listener.address, groups.num_learners)
        is_whole = service.serve()
        _LOGGER.info("ends: %s", service.why_it_stops)
    return 0 if is_whole else 1


def _health(port: int, service: LearnerService) -> Health:
    try:
        return Health(port, service.readiness)
    except OSError as error:
        raise ValueError(f"--health-port {port} cannot be opened: {error.strerror}") from error


class _Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {in_our_words(message, self.prog)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="outrider-learner",
        description="Trains for algorithm processes on other machines, one run at a time.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--listen",
        required=True,
        metavar="HOST:PORT",
        help="where algorithms dial; or unix:PATH; port 0: any",
    )
    add(
        "--num-learners",
        type=whole_number(1, 10_000),
        metavar="N",
        help="learners on Ray that train together; without: one here",
    )
    add("--token-file", type=Path, metavar="F", help="secrets that let in, one a line; or OUTRIDER_TOKEN")
    add("--tls-certificate", type=Path, metavar="F", help="PEM file with the service's certificate")
    add("--tls-key", type=Path, metavar="F", help="PEM file with its key")
    add("--tls-client-ca", type=Path, metavar="F", help="PEM file of who must have signed the dialler's")
    add("--insecure", action="store_true", help="let strangers on the network in, unencrypted")
    add(
        "--network-module",
        action="append",
        default=[],
        metavar="MODULE",
        help="module from which a run may name its own network; may be given several times",
    )
    add("--health-port", type=whole_number(0, 65_535), metavar="P", help="answer /healthz and /readyz there")
    add("--json-logs", action="store_true", help="one JSON object for each line")
    add("--debug", action="store_true", help="say more, with tracebacks")
    return parser


def _sentence(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


if __name__ == "__main__":
    sys.exit(main())
