"""The session of a runner of a farm, and gateways that it is connected to, one after the other."""

from __future__ import annotations

from typing import Any

from outrider.envrunner.farm.farm_session import FarmSession
from outrider.envrunner.farm.farm_work import Assigned, Sample
from outrider.testing.connections import ConnectionPair
from outrider.testing.messages import example_spaces
from outrider.transport.connection import Connection
from outrider.wire import Hello, Welcome, session
from outrider.wire.session_codec import decode_sample_request, encode_sample_response

TERMS = session.Terms(heartbeat_interval_s=1.0, silence_timeout_s=4.0, session_timeout_s=30.0)
SPACES = example_spaces()


class Gateway:
    """Writes down what a runner says, and says what a test wants."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.attached: list[bytes | None] = []
        self.connection: Connection

    def opened(self, connection: Connection) -> None:
        self.connection = connection

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        self.heard.append(decode_sample_request(head))
        self.attached.append(None if attachment is None else bytes(attachment))

    def closed(self, connection: Connection, reason: str) -> None:
        pass

    def say(self, *messages: session.SampleResponse, attachment: bytes = b"") -> None:
        for message in messages:
            head = encode_sample_response(message, attachment_bytes=len(attachment))
            self.connection.send(head, [attachment] if attachment else [])

    def sequences(self) -> list[int]:
        """Which fragments were handed in, in order."""
        return [each.sequence for each in self.heard if isinstance(each, session.FragmentDelivery)]


class Witness:
    """Writes down what people are told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def connected(self, sentence: str) -> None:
        self.told.append(sentence)

    lost = parted = noticed = waits = connected

    def seated(self, known: str) -> None:
        self.told.append("seated")

    def sampled(self, num_env_steps: int, version: int) -> None:
        pass


class Stage:
    """A runner's session, and one gateway after the other that it is connected to."""

    def __init__(self, *, known: str = "") -> None:
        self.now = 0.0
        self.witness = Witness()
        join = session.Join(
            hello=Hello(component="a farm"),
            name="farm runner 0",
            observation_space=SPACES["box"],
            action_space=SPACES["discrete"],
            session=known,
        )
        self.session = FarmSession(join, witness=self.witness, clock=lambda: self.now)
        self.gateway = Gateway()
        self._pairs: list[ConnectionPair] = []

    def connect(self) -> session.Join:
        """Connect anew, and return how the runner introduces itself."""
        self.gateway = Gateway()
        self._pairs.append(ConnectionPair(self.gateway, self.session))
        self.gateway.attached.clear()
        return self.gateway.heard.pop(0)  # type: ignore[no-any-return]

    def welcome(self, *, resumed: bool = False, acknowledged: int = 0, known: str = "s") -> None:
        """Let the runner in, and assign it something unless it has that."""
        welcome = session.SessionWelcome(
            welcome=Welcome(component="a trainer"),
            session=known,
            resumed=resumed,
            acknowledged=acknowledged,
            terms=TERMS,
        )
        self.say(welcome)
        if not resumed:
            assignment = session.Assignment(runner=3, incarnation=1, num_environments=2, num_steps=5, seed=7)
            self.say(assignment, attachment=b"graph")

    def join(self) -> Assigned:
        """Connect to a gateway for the first time."""
        self.connect()
        self.welcome()
        assigned = self.session.next_work()
        assert isinstance(assigned, Assigned)
        return assigned

    def say(self, *messages: session.SampleResponse, attachment: bytes = b"") -> None:
        self.gateway.say(*messages, attachment=attachment)
        self.settle()

    def give_weights(self, version: int) -> None:
        self.say(session.WeightsDelivery(version), attachment=b"weights %d" % version)

    def cut(self) -> None:
        self._pairs[-1].cut("the cable broke")

    def settle(self) -> None:
        self._pairs[-1].settle()

    def sample(self) -> Sample:
        """Take a request for a fragment."""
        work = self.session.next_work()
        assert isinstance(work, Sample)
        return work

    def deliver(self, work: Sample) -> None:
        self.session.deliver(work.life, work.sequence, [b"fragment ", b"%d" % work.sequence])
        self.settle()

    def has_work(self) -> bool:
        with self.session._changed:  # noqa: SLF001 - a look that waits for nothing
            return self.session._next_work() is not None  # noqa: SLF001

    def close(self) -> None:
        for pair in self._pairs:
            pair.__exit__(None, None, None)
