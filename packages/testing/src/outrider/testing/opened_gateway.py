"""A gateway whose seats are open, for tests that say to it what runners say."""

# ruff: noqa: ANN401 - settings of any type

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerPlan
from outrider.envrunner.fleet.remote_runners import RunnerEvent, Sampled
from outrider.envrunner.gateway.gateway import Gateway
from outrider.testing.dialled_gateway import MemoryPort
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.raw_runner import NUMBERED_GRAPH, RawRunner
from outrider.transport.security import ServerSecurity
from outrider.wire import session
from outrider.wire.session import GoodbyeReason


class OpenedGateway:
    """A gateway whose seats are open, with what its driver hears."""

    def __init__(self, num_seats: int = 1, **settings: Any) -> None:
        """Open seats for runners that sample one row at a time; `settings` are those of env runners."""
        self.port = MemoryPort()
        made = EnvRunnerSettings(**settings)
        plan = RunnerPlan(
            environment=EnvironmentSettings("CartPole-v1"),
            settings=made,
            policy=NUMBERED_GRAPH,
            num_steps=1,
            seed=5,
            first_runner=0,
        )
        self.gateway = Gateway(
            plan,
            made,
            num_seats=num_seats,
            address="memory",
            security=ServerSecurity(),
            listen=self.port.listen,
        )
        for index in range(num_seats):
            self.gateway.start(index, incarnation=0)

    def up(self, **join: Any) -> RawRunner:
        """Return a runner that has joined and is ready."""
        peer = RawRunner(self.port)
        peer.join(**join)
        peer.say(session.Ready())
        self.events()
        return peer

    def back(self, before: RawRunner, *, last_ask: int, version: int | None = None) -> RawRunner:
        """Break a runner's connection and let it come back."""
        key = before.heard(session.SessionWelcome)[-1].session
        self.port.cut()
        peer = RawRunner(self.port)
        welcome = peer.join(session=key, last_ask=last_ask, weights_version=version)
        assert welcome.resumed
        return peer

    def ask(self, *versions: int | None) -> None:
        """Ask the first runner for a fragment with each of these versions."""
        for version in versions:
            self.gateway.ask(0, None if version is None else numbered_weights(version))

    def events(self) -> list[RunnerEvent]:
        """Return what the driver hears, once all has arrived."""
        self.port.settle()
        return list(self.gateway.events(0))

    def delivered(self) -> list[float]:
        """Return the numbers of the fragments that the driver gets."""
        events = self.events()
        return [float(each.fragment.load().rewards[0]) for each in events if isinstance(each, Sampled)]


Make = Callable[..., OpenedGateway]


@contextmanager
def opened_gateways() -> Iterator[Make]:
    """Give what makes gateways, and close them afterwards."""
    made: list[OpenedGateway] = []

    def make(*arguments: Any, **settings: Any) -> OpenedGateway:
        made.append(OpenedGateway(*arguments, **settings))
        return made[-1]

    yield make
    for each in made:
        each.gateway.close()


def goodbye(peer: RawRunner) -> tuple[GoodbyeReason, str]:
    """Return why a runner was sent away, once it has gone."""
    (said,) = peer.heard(session.Goodbye)
    assert peer.closed_because is not None
    return said.reason, said.sentence
