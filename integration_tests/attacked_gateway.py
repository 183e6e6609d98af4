"""A gateway with an honest runner, and peers that say to it whatever they like."""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import grpc

from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.fleet.remote_runners import Failed, Left, Lost, Ready, Sampled
from outrider.envrunner.gateway.gateway import SAMPLE, Gateway
from outrider.envrunner.policies.weights_loading import load_newer
from outrider.testing.dialled_gateway import FarmPeer, MemoryPort
from outrider.testing.runner_pool_conformance import pool_setup, weights_of
from outrider.transport import LocalWeights
from outrider.transport.grpc_dialer import dial
from outrider.transport.security import ClientSecurity, ServerSecurity
from outrider.wire import Fragment, Hello, session
from outrider.wire.session_codec import (
    decode_sample_response,
    encode_sample_request,
)
from outrider.wire.stream import chunk_message, read_stream_message

PATIENCE_S = 10.0
SETUP = pool_setup()
WEIGHTS = LocalWeights(weights_of(SETUP, 0))
JOIN = session.Join(
    hello=Hello(component="a liar"),
    name="liar",
    observation_space=SETUP.graph.observation_space,
    action_space=SETUP.graph.action_space,
    num_environments=1,
)
MAX_MESSAGES_PER_S = 1000


class Unpickled:
    """Leaves a trace where somebody unpickles it."""

    traces: list[str] = []  # noqa: RUF012

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return self.traces.append, ("unpickled",)


PICKLE = pickle.dumps(Unpickled())


class RealPort(MemoryPort):
    """Lets a runner of this process dial an address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def dial(self, receiver: Any, service: str = SAMPLE) -> Any:
        security = ClientSecurity(insecure=True)
        return dial(self.address, service, receiver, security=security, timeout_s=PATIENCE_S)


class Scene:
    """A gateway, whoever asks its runners for fragments, and an honest runner."""

    def __init__(self) -> None:
        settings = replace(SETUP.settings, max_messages_per_s=MAX_MESSAGES_PER_S)
        self.gateway = Gateway(
            SETUP.plan, settings, num_seats=3, address="127.0.0.1:0", security=ServerSecurity()
        )
        self.num_sampled = [0, 0, 0]
        self.lost: list[str] = []
        self._ends = threading.Event()
        for index in range(3):
            self.gateway.start(index, incarnation=0)
        self._driver = threading.Thread(target=self._drive)
        self._driver.start()
        self._honest = FarmPeer(
            RealPort(self.gateway.address), FarmEnvironment(environment=SETUP.plan.environment), name="honest"
        )
        self.wait_for_the_honest(3)

    def wait_for_the_honest(self, num_more: int) -> None:
        """Wait until the honest runner, which came first and has seat 0, has delivered so many more."""
        wanted = self.num_sampled[0] + num_more
        deadline = time.monotonic() + PATIENCE_S
        while self.num_sampled[0] < wanted:
            assert time.monotonic() < deadline, "the honest runner stands still"
            time.sleep(0.005)

    @property
    def num_cut_off(self) -> int:
        return self.gateway.admission.num_cut_off

    def close(self) -> None:
        self._ends.set()
        self._driver.join(PATIENCE_S)
        self.gateway.close()
        self._honest.thread.join(PATIENCE_S)

    def _drive(self) -> None:
        incarnation = 0
        while not self._ends.is_set():
            for event in self.gateway.events(0.05):
                match event:
                    case Ready(index):
                        self.gateway.ask(index, WEIGHTS)
                    case Sampled(index, _):
                        self.num_sampled[index] += 1
                        time.sleep(0.005)  # far below what counts as a flood
                        self.gateway.ask(index, WEIGHTS)
                    case Lost(index, _) | Left(index, _) | Failed(index, _):
                        incarnation += 1
                        self.lost.append(f"{index}: {event}")
                        self.gateway.start(index, incarnation=incarnation)


class Peer:
    """Sends whatever bytes it likes over a stream of gRPC."""

    def __init__(self, address: str, service: str = SAMPLE, **settings: Any) -> None:
        self._says: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        messages = iter(self._says.get, None)
        call = self._channel.stream_stream(f"/{service}")
        self.call = call(messages, timeout=PATIENCE_S, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._says.put(None)
        self._channel.close()

    def say(self, message: bytes) -> None:
        self._says.put(message)

    def attach(self, head: Callable[[int], bytes], content: bytes) -> None:
        self.say(head(len(content)))
        for start in range(0, len(content), 2**20):
            self.say(chunk_message([content[start : start + 2**20]]))

    def hear(self, kind: type[Any]) -> Any:
        for answer in self.call:
            message = decode_sample_response(answer)
            if isinstance(message, kind):
                return message
        raise AssertionError(f"the stream ended without {kind.__name__}")

    def runner(self) -> Fragment:
        """Join, be asked for a fragment, and return what an honest runner would answer."""
        self.say(encode_sample_request(JOIN))
        assignment = self.hear(session.Assignment)
        self.say(encode_sample_request(session.Ready()))
        self.hear(session.Ask)
        runner = SETUP.plan.make_runner(assignment.runner, assignment.incarnation)
        load_newer(runner, WEIGHTS)
        return runner.sample()

    def deliver(self, content: bytes, sequence: int = 1) -> None:
        self.attach(lambda size: encode_sample_request(session.FragmentDelivery(sequence), size), content)

    def sentence(self) -> str:
        """Return why this side was sent away."""
        goodbye = None
        with suppress(grpc.RpcError):
            for answer in self.call:
                goodbye = read_stream_message(answer).goodbye or goodbye
        assert goodbye is not None, f"no goodbye came: {self.call.code()}, {self.call.details()}"
        is_slow = goodbye.sentence.startswith(("no message came within", "it did not say join within"))
        reasons = session.GoodbyeReason
        assert goodbye.reason is (reasons.LATER if is_slow else reasons.MISBEHAVED)
        assert goodbye.sentence.isprintable()
        return goodbye.sentence
