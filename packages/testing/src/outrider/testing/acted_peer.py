"""A run that acts for environments elsewhere, and such environments, in one process."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium
from outrider.envrunner.environments.sync_vector import SyncVector
from outrider.envrunner.environments.vector_environment import environment_seed
from outrider.envrunner.fleet.remote_runners import Ready, RunnerEvent, Sampled
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.act_session import ActSessions
from outrider.envrunner.gateway.peer_log import Tally
from outrider.envrunner.gateway.seats import Seats
from outrider.testing.connections import ConnectionPair
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.testing.scripted import ScriptedEnvironment
from outrider.transport import LocalWeights
from outrider.transport.connection import Connection
from outrider.wire import (
    Fragment,
    Hello,
    Limits,
    Refusal,
    Welcome,
    answer_hello,
    decode_act_response,
    encode_act_request,
)
from outrider.wire.session import Action, Goodbye, Heartbeat, Join, SessionWelcome, Step, Terms

LONG_S = 30.0
NUM_ENVS, NUM_STEPS = 4, 12
TERMS = Terms(heartbeat_interval_s=2, silence_timeout_s=10, session_timeout_s=30)
OBSERVATIONS = space_from_gymnasium(ScriptedEnvironment().observation_space)
ACTIONS = space_from_gymnasium(ScriptedEnvironment().action_space)
GRAPH = mlp_graph(OBSERVATIONS, ACTIONS, num_hidden=8)
PLAN = RunnerPlan(
    environment=EnvironmentSettings(functools.partial(ScriptedEnvironment)),
    settings=EnvRunnerSettings(num_envs_per_env_runner=NUM_ENVS, env_step_timeout_s=LONG_S),
    policy=GRAPH,
    num_steps=NUM_STEPS,
    seed=0,
)
WEIGHTS = LocalWeights(mlp_weights(GRAPH))
Spoil = Callable[[Step], Step | None]


@dataclass
class Peer:
    """Environments in another program, on the far side of a connection."""

    first_environment: int = 0
    num_envs: int = NUM_ENVS
    spoil: Spoil = lambda step: step
    name: str = "node"

    def __post_init__(self) -> None:
        self._envs = SyncVector([ScriptedEnvironment] * self.num_envs, on_failure=lambda *_: 0)
        self._read = column_reader(OBSERVATIONS)
        self.welcome: SessionWelcome | None = None
        self.heard = threading.Event()
        self.goodbye: Goodbye | None = None
        self.connection: Connection
        self.is_closed = False

    def opened(self, connection: Connection) -> None:
        self.connection = connection

    def join(self) -> None:
        join = Join(
            hello=Hello(component="cartpole.js"),
            name=self.name,
            observation_space=OBSERVATIONS,
            action_space=ACTIONS,
            num_environments=self.num_envs,
        )
        self.connection.send(encode_act_request(join))

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        assert attachment is None
        match decode_act_response(head):
            case SessionWelcome() as welcome:
                self.welcome = welcome
                self.heard.set()
                if welcome.welcome.refusal is None:
                    self._send(self.first_step())
            case Action() as action:
                self._send(self._step(action))
            case Goodbye() as goodbye:
                self.goodbye = goodbye
            case other:
                assert isinstance(other, Heartbeat)

    def closed(self, connection: Connection, reason: str) -> None:
        self.is_closed = True

    def _send(self, step: Step) -> None:
        sent = self.spoil(step)
        if sent is not None:
            self.connection.send(encode_act_request(sent))

    def first_step(self) -> Step:
        seeds = [environment_seed(0, self.first_environment + index) for index in range(self.num_envs)]
        nothing = np.zeros(0, np.bool_)
        return Step(
            sequence=1,
            observations=self._read(self._envs.reset(seed=seeds)[0]),
            rewards=np.zeros(0, np.float32),
            terminated=nothing,
            truncated=nothing,
            ended=np.zeros(0, np.int64),
            final_observations={},
        )

    def _step(self, action: Action) -> Step:
        value, rewards, terminated, truncated, infos = self._envs.step(action.actions[""])
        ended = np.flatnonzero(terminated | truncated)
        return Step(
            sequence=action.sequence + 1,
            observations=self._read(value),
            rewards=rewards.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            ended=ended,
            final_observations=self._read(np.stack(list(infos["final_obs"][ended]))) if len(ended) else {},
        )


class Run:
    """The side that trains, with as many seats as it says."""

    def __init__(self, num_seats: int = 1, *, delay_s: float = 0.002, refusal: Refusal | None = None) -> None:
        self.tally = Tally()
        self.seats = Seats(num_seats, empty="nobody has come")
        own = Hello(component="the run")
        self.sessions = ActSessions(
            PLAN,
            self.seats,
            greet=lambda join: (
                Welcome(component="the run", refusal=refusal) if refusal else answer_hello(join.hello, own)
            ),
            terms=TERMS,
            delay_s=delay_s,
            limits=Limits(),
            tally=self.tally,
        )
        for index in range(num_seats):
            self.seats.start(index, 0)
        self._seen: list[RunnerEvent] = []

    def event(self, kind: type[Any], index: int = 0) -> Any:  # noqa: ANN401 - of the kind
        """Wait for the next event of a kind about a seat."""
        deadline = monotonic() + LONG_S
        while monotonic() < deadline:
            for each in self._seen:
                if isinstance(each, kind) and each.index == index:
                    self._seen.remove(each)
                    return each
            self._seen += self.seats.events(1.0)
        raise TimeoutError(f"no {kind.__name__} of {index} among {self._seen}")

    def sample(self, index: int = 0) -> Fragment:
        self.seats.ask(index, WEIGHTS)
        fragment: Fragment = self.event(Sampled, index).fragment.load()
        return fragment


@contextmanager
def playing(run: Run, *peers: Peer) -> Iterator[list[ConnectionPair]]:
    """Let peers join, each after the one before is ready."""
    with ExitStack() as pairs:
        connected = []
        for index, peer in enumerate(peers):
            connected.append(pairs.enter_context(ConnectionPair(run.sessions, peer)))
            peer.join()
            run.event(Ready, index)
        yield connected
