"""The command `outrider-farm`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.util import find_spec

from outrider.envrunner.farm.farm import Farm
from outrider.envrunner.farm.farm_ending import Ending
from outrider.envrunner.farm.farm_flags import orders_of, parser
from outrider.envrunner.farm.farm_log import FarmLog
from outrider.transport.health import Health


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a farm to its end and return its exit code, which `--help` explains."""
    flags = parser().parse(sys.argv[1:] if arguments is None else arguments)
    log = FarmLog(as_json=flags.json_logs)
    health = None
    try:
        _require_grpc()
        orders = orders_of(flags, os.environ)
        farm = Farm(orders, log, num_runners=flags.runners)
        if flags.health_port is not None:
            health = _health(flags.health_port, farm)
            log.say("health", f"health port {health.port}")
        log.say("start", f"{_counted(flags.runners)} of {flags.env} to join {flags.connect}")
        return farm.run()
    except ValueError as error:
        if flags.debug:
            traceback.print_exc()
        log.say("ended", str(error), level="error")
        return Ending.UNUSABLE.exit_code
    finally:
        if health is not None:
            health.close()


def _counted(num_runners: int) -> str:
    return "1 runner" if num_runners == 1 else f"{num_runners} runners"


def _require_grpc() -> None:
    if find_spec("grpc") is None:
        raise ValueError('a farm needs gRPC; install it with: pip install "outrider-envrunner[grpc]"')


def _health(port: int, farm: Farm) -> Health:
    try:
        return Health(port, lambda: (farm.num_connected > 0, f"{farm.num_connected} runners connected"))
    except OSError as error:
        raise ValueError(f"--health-port {port} cannot be opened: {os.strerror(error.errno or 0)}") from error


if __name__ == "__main__":
    sys.exit(main())
