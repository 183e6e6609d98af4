"""Opens the gateway through which runners of farms take part in a run."""

from __future__ import annotations

import json
import logging
import os
import shlex
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from gymnasium.envs.registration import VectorizeMode

from outrider.algorithm.settings.setting_value import function_name
from outrider.transport.addresses import check_listen, parse_address, read_tokens
from outrider.transport.security import ServerSecurity
from outrider.wire import capabilities

if TYPE_CHECKING:
    from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
    from outrider.envrunner.fleet.runner_plan import RunnerPlan
    from outrider.envrunner.gateway.gateway import Gateway

INSTALL_GRPC = (
    "runners in processes and on farms connect over gRPC, which is not installed; pip install "
    "outrider-algorithm[grpc]"
)

log = logging.getLogger(__name__)


def check_gateway(runners: EnvRunnerSettings) -> None:
    """Raise ValueError in one sentence for an address or a compression that cannot be had here."""
    if runners.listen is not None:
        gateway_security(runners)
    if packed_as(runners) - capabilities():
        raise ValueError(
            f"fragment_compression={runners.fragment_compression!r} needs a library that is not installed; "
            'pip install "outrider-wire[compression]", or leave fragment_compression out'
        )


def packed_as(runners: EnvRunnerSettings) -> frozenset[str]:
    """Return the capability that whoever reads fragments of farms must have, if any."""
    is_packed = runners.listen is not None and runners.fragment_compression != "none"
    return frozenset({runners.fragment_compression} if is_packed else ())


def gateway_security(runners: EnvRunnerSettings) -> ServerSecurity:
    """Read tokens and look for certificates. Raises ValueError where strangers could come in unasked."""
    assert runners.listen is not None
    if (runners.tls_certificate is None) != (runners.tls_key is None):
        raise ValueError("tls_certificate and tls_key belong together; give both or none")
    if runners.tls_client_ca is not None and runners.tls_certificate is None:
        raise ValueError(
            f"tls_client_ca={runners.tls_client_ca!r} asks farms for certificates without one of the "
            "gateway's own; give tls_certificate and tls_key too"
        )
    security = ServerSecurity(
        certificate=_file("tls_certificate", runners.tls_certificate),
        key=_file("tls_key", runners.tls_key),
        client_ca=_file("tls_client_ca", runners.tls_client_ca),
        tokens=read_tokens(runners.token_file, os.environ),
    )
    check_listen(runners.listen, security, insecure=runners.insecure)
    return security


def open_gateway(runners: EnvRunnerSettings, plan: RunnerPlan | MultiAgentPlan) -> Gateway:
    """Listen for farms from now on. Raises ValueError where the address is not to be had."""
    from outrider.envrunner.fleet.runner_plan import RunnerPlan
    from outrider.envrunner.gateway.gateway import Gateway
    from outrider.envrunner.policies.matchups import Matchups

    assert runners.listen is not None
    if not plan.is_exported:
        raise ValueError(
            f"listen={runners.listen!r} lets in farms, which act without torch, and this policy cannot be "
            "exported; use a network that can be, or runners that the run starts itself"
        )
    try:
        gateway = Gateway(
            plan,
            runners,
            num_seats=runners.num_seats,
            address=runners.listen,
            security=gateway_security(runners),
        )
    except ImportError as error:
        raise ValueError(INSTALL_GRPC) from error
    except OSError as error:
        raise ValueError(f"listen={runners.listen!r}: {error}") from error
    command = farm_command(runners, gateway.address, plan.environment)
    if not isinstance(plan, RunnerPlan) and not isinstance(plan.mapping, Matchups):
        command += " --policy-mapping-fn MODULE:FUNCTION"
    log.warning("farms join with: %s", command)
    return gateway


def farm_command(runners: EnvRunnerSettings, address: str, environment: EnvironmentSettings) -> str:
    """Return what to type where the environments are."""
    env = function_name(environment.env) if callable(environment.env) else environment.env
    words = ["outrider-farm", "--connect", _to_dial(address), "--env", env or "ENVIRONMENT"]
    if environment.env_config:
        words += ["--env-config", json.dumps(dict(environment.env_config), default=str)]
    mode = VectorizeMode(runners.gym_env_vectorize_mode)
    if mode is not VectorizeMode.SYNC:
        words += ["--gym-env-vectorize-mode", mode.value]
    if runners.token_file is not None:
        words += ["--token-file", "FILE"]
    if runners.tls_certificate is not None:
        words += ["--tls-ca", "FILE"]
    if runners.tls_client_ca is not None:
        words += ["--tls-certificate", "FILE", "--tls-key", "FILE"]
    if runners.insecure and runners.tls_certificate is None:
        words.append("--insecure")
    return shlex.join(words)


def _to_dial(address: str) -> str:
    """Return an address that other machines can dial, where this one listens on all that it has."""
    parsed = parse_address(address)
    is_any = parsed.host in ("0.0.0.0", "::")  # noqa: S104 - nothing is bound here
    return f"{socket.gethostname()}:{parsed.port}" if is_any else address


def _file(name: str, path: str | None) -> Path | None:
    if path is not None and not Path(path).is_file():
        raise ValueError(f"{name}={path!r} is not there; give a PEM file")
    return None if path is None else Path(path)
