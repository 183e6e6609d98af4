"""A process with one runner in it: `python -m outrider.envrunner.farm.runner_process`.

    parent                                                   this process
    standard input: RunnerOrders --------------------------->  makes its environment, dials, samples
    standard input: "n" ----------------------------------->  dials at once if it pauses
    standard input: "d" ----------------------------------->  drains
    standard input: closed, or the parent has died -------->  ends
    events, one JSON object to a line <---------------------  (farms only)

Signals are the parent's: Ctrl-C and SIGTERM do nothing here. Nothing that comes over the network is
unpickled.
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import shutil
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

from outrider.envrunner.environments.environment import EnvironmentSettings, spaces_of
from outrider.envrunner.environments.trial_step import one_line
from outrider.envrunner.farm.assigned_runner import NO_SPACE, FarmEnvironment, mapping_called
from outrider.envrunner.farm.farm_ending import Ended, Ending
from outrider.envrunner.farm.farm_runner import SERVICE, FarmRunner, MakeRunner
from outrider.envrunner.farm.farm_session import FarmSession
from outrider.envrunner.farm.runner_events import RunnerEvents
from outrider.envrunner.farm.runner_orders import DIAL, DRAIN, RunnerOrders, receive
from outrider.envrunner.fleet.plan_message import plan_from_message
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.introduction import introduction
from outrider.envrunner.policies.fetched_policies import FetchPolicies
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.envrunner.sampling.runner_protocol import SamplingRunner
from outrider.transport.grpc_dialer import dial
from outrider.transport.security import ClientSecurity
from outrider.wire import PolicyGraph, Space, capabilities, decode_settings
from outrider.wire.session import Assignment, Join

_LOGGER = logging.getLogger("outrider.envrunner")
_ORPHAN_CHECK_S = 1.0
_CLOSE_S = 3.0
"""What environments have for closing, once nobody needs them any more."""
_DIAL_TIMEOUT_S = 10.0
_SWITCH_INTERVAL_S = 0.0005
"""How soon an environment in pure Python lets the network's thread have the interpreter. Python's 5 ms,
for each chunk, make 64 MiB take 260 ms and not 100 (measured); where nobody waits nothing is switched."""


def main() -> int:
    """Do what the parent orders, and return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    parent = os.getppid()
    try:
        orders = receive()
    except EOFError:
        return Ending.FAILED.exit_code
    _log(orders)
    if orders.debug:
        _LOGGER.setLevel(logging.DEBUG)
    warnings.showwarning = _warn
    events = RunnerEvents(orders.events, only_the_last=orders.plan is not None)
    ended = _run(orders, events, _Parent(parent, orders))
    events.ended(ended)
    return ended.ending.exit_code


def _run(orders: RunnerOrders, events: RunnerEvents, parent: _Parent) -> Ended:
    try:
        try:
            make, join = _of_a_run(orders) if orders.plan is not None else _of_a_farm(orders)
        except ValueError as error:
            _LOGGER.debug("the environment cannot be made", exc_info=True)
            return Ended(Ending.UNUSABLE, str(error))
        security = ClientSecurity(
            insecure=orders.insecure,
            ca=_path(orders.ca),
            certificate=_path(orders.certificate),
            key=_path(orders.key),
            token=orders.token,
        )
        farm_session = FarmSession(join, witness=events)
        parent.rules(farm_session)
        runner = FarmRunner(
            lambda session: dial(
                orders.address, SERVICE, session, security=security, timeout_s=_DIAL_TIMEOUT_S
            ),
            make,
            farm_session,
            events,
            give_up_after_s=orders.give_up_after_s,
        )
        return runner.run()
    except Exception as error:
        _LOGGER.debug("the runner failed", exc_info=True)
        return Ended(Ending.FAILED, " ".join(f"{type(error).__name__}: {error}".split()))


def _of_a_farm(orders: RunnerOrders) -> tuple[MakeRunner, Join]:
    """Return what makes the runners, and how they introduce themselves. Raises ValueError for neither."""
    assert orders.environment is not None
    environment = decode_settings(EnvironmentSettings, orders.environment)
    farm = FarmEnvironment(
        environment=environment,
        vectorize_mode=orders.vectorize_mode,
        policy_mapping_fn=mapping_called(orders.policy_mapping_fn),
    )
    hello = introduction(orders.component, capabilities() | {ON_DEMAND})
    return farm.make_runner, farm.join(hello, name=orders.name, session=orders.session)


def _of_a_run(orders: RunnerOrders) -> tuple[MakeRunner, Join]:
    """Return the same where the run that asks has started this process, and says all of it."""
    assert orders.plan is not None
    plan = plan_from_message(orders.plan, load=pickle.loads)
    if not isinstance(plan, RunnerPlan):
        plan = plan.without_pickles()
        spaces: tuple[Space, Space] = NO_SPACE, NO_SPACE  # nobody looks at them
    elif isinstance(plan.policy, PolicyGraph):
        spaces = plan.policy.observation_space, plan.policy.action_space
    else:
        spaces = spaces_of(plan.environment, plan.settings.gym_env_vectorize_mode)

    def make(assignment: Assignment, _: memoryview, fetch: FetchPolicies | None) -> SamplingRunner:
        index = assignment.runner - plan.first_runner
        if isinstance(plan, RunnerPlan):
            return plan.make_runner(index, assignment.incarnation)
        return plan.make_runner(index, assignment.incarnation, fetch)

    join = Join(
        hello=introduction(orders.component, capabilities() | {ON_DEMAND}),
        name=orders.name,
        observation_space=spaces[0],
        action_space=spaces[1],
        session=orders.session,
    )
    return make, join


class _Parent:
    """Listens to the parent, on a thread of its own, whatever the main thread is doing."""

    def __init__(self, pid: int, orders: RunnerOrders) -> None:
        self._pid = pid
        self._orders = orders
        self._session: FarmSession | None = None
        threading.Thread(target=self._listen, name="outrider-parent", daemon=True).start()

    def rules(self, farm_session: FarmSession) -> None:
        """Let the parent drain and end this session; until now it could only end the process."""
        self._session = farm_session

    def _listen(self) -> None:
        while os.getppid() == self._pid:
            readable, _, _ = select.select([sys.stdin.fileno()], [], [], _ORPHAN_CHECK_S)
            order = os.read(sys.stdin.fileno(), 1) if readable else None
            if order == DRAIN:
                self._drain()
            elif order == DIAL:
                self._dial()
            elif order is not None:
                break
        if self._orders.folder is not None:
            shutil.rmtree(self._orders.folder, ignore_errors=True)
        if self._session is not None:
            self._session.end(Ending.DRAINED, "the process that started it has ended")
            time.sleep(_CLOSE_S)
        os._exit(Ending.FAILED.exit_code)

    def _dial(self) -> None:
        if self._session is not None:
            self._session.hurry()

    def _drain(self) -> None:
        if self._session is None:
            os._exit(Ending.DRAINED.exit_code)
        self._session.leave("it was asked to end", within_s=self._orders.drain_s)


def _log(orders: RunnerOrders) -> None:
    """Print what is wrong in single lines that say of whom, which a farm does for its runners."""
    handler = logging.StreamHandler()
    handler.setFormatter(lines_of(orders))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def lines_of(orders: RunnerOrders) -> logging.Formatter:
    """Return how these lines look."""
    if orders.plan is None:
        return _Lines("", "--debug", debug=orders.debug)
    return _Lines(f"{orders.name}: ", "OUTRIDER_TRACEBACK=1", debug=orders.debug)


class _Lines(logging.Formatter):
    """Shows tracebacks only to those who asked for them."""

    def __init__(self, start: str, how: str, *, debug: bool) -> None:
        super().__init__()
        self._start = start
        self._how = how
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        if self._debug:
            return self._start + super().format(record)
        line = f"{self._start}{record.getMessage()}"
        error = record.exc_info[1] if record.exc_info else None
        return line if error is None else f"{line}: {one_line(error)} ({self._how} shows where)"


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    _LOGGER.warning("%s", message)


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


if __name__ == "__main__":
    sys.exit(main())
