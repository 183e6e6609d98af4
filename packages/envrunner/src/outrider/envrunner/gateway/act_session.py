"""Lets in environments that carry no policy (`ActService.Act`), and seats a runner here for each stream.

    peer                       network's thread                    thread of its ActingRunner
    join ------------------->  greet, occupy a seat
         <- welcome ---------
    step ------------------->  deliver ------------------------->  EnvRunner records, the policy acts
         <------------------------------------------------ action

A stream whose connection breaks is over, and with it the fragment under way: its rows are lost, counted
by whoever asked for it. What it delivered before stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TypeAlias

from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.acting_runner import ActingRunner
from outrider.envrunner.gateway.peer_log import Tally, printable
from outrider.envrunner.gateway.remote_vector import PeerGoneError, PeerLeftError, RemoteVector
from outrider.envrunner.gateway.seats import Seats
from outrider.envrunner.policies.batched_policy import BatchedPolicy, Member
from outrider.envrunner.policies.onnx_policy import OnnxPolicy
from outrider.envrunner.sampling.runner import EnvRunner
from outrider.transport.connection import Connection
from outrider.wire import (
    Limits,
    PolicyGraph,
    Welcome,
    WireError,
    decode_act_request,
    encode_act_response,
)
from outrider.wire.session import ActRequest, Goodbye, GoodbyeReason, Join, SessionWelcome, Step, Terms

_LOGGER = logging.getLogger("outrider.envrunner")
_JOIN_S = 10.0
Greet: TypeAlias = Callable[[Join], Welcome]
"""Decides whether a peer fits the run, whose policy is a graph then."""


class ActSessions:
    """All streams of environments that are acted for here. A `Receiver`."""

    def __init__(
        self,
        plan: RunnerPlan,
        seats: Seats,
        *,
        greet: Greet,
        terms: Terms,
        delay_s: float,
        limits: Limits,
        tally: Tally,
    ) -> None:
        """Seat runners that are made after `plan`; a call of the policy waits `delay_s` for others."""
        self._plan = plan
        self._seats = seats
        self._greet = greet
        self._terms = replace(terms, session_timeout_s=0.0)  # a stream that breaks is over
        self._limits = limits
        self._tally = tally
        self._policy = BatchedPolicy(lambda: OnnxPolicy(self._graph), delay_s=delay_s)
        self._streams: dict[Connection, _Stream] = {}  # the network's thread's
        # Under the seats' lock:
        self._open: set[Connection] = set()  # those that were not sent away
        self._strangers: dict[Connection, float] = {}  # since when

    def opened(self, connection: Connection) -> None:
        """Wait for a `Join`."""
        with self._seats.changed:
            self._open.add(connection)
            self._strangers[connection] = monotonic()

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        """Seat a peer, or hand a step to its runner."""
        with self._seats.changed:
            if connection not in self._open:
                return
        try:
            self._take(connection, decode_act_request(head, self._limits))
        except WireError as error:
            stream = self._streams.get(connection)
            if stream is not None:
                stream.runner.leave(PeerGoneError(f"it was cut off: {error}"))
            self._dismiss(connection, Goodbye(reason=GoodbyeReason.MISBEHAVED, sentence=str(error)))

    def _take(self, connection: Connection, message: ActRequest | None) -> None:
        stream = self._streams.get(connection)
        match message:
            case Join() if stream is None:
                self._join(connection, message)
            case Join():
                raise WireError("join came twice on one stream; open another stream for other environments")
            case Step() if stream is None:
                raise WireError("a step came before join; the first message of a stream is join")
            case Step():
                assert stream is not None
                stream.vector.deliver(message)
            case Goodbye(sentence=sentence) if stream is not None:
                reason = printable(sentence) or "without a reason"
                stream.runner.leave(PeerLeftError(f"it said goodbye: {reason}"))
                self._dismiss(connection, Goodbye(reason=GoodbyeReason.DONE, sentence="farewell"))
            case _:
                pass  # a message of a newer minor version

    def closed(self, connection: Connection, reason: str) -> None:
        """End the runner of a stream."""
        with self._seats.changed:
            if connection in self._open:
                self._tally.num_cut_off += connection.broke_rule
                self._open.discard(connection)
            self._strangers.pop(connection, None)
        stream = self._streams.pop(connection, None)
        if stream is not None:
            stream.runner.leave(PeerGoneError(printable(reason)))

    def tend(self) -> None:
        """Send away who does not say who it is. Called again and again by the driver."""
        now = monotonic()
        with self._seats.changed:
            silent = [each for each, since in self._strangers.items() if now - since >= _JOIN_S]
        for connection in silent:
            sentence = f"it did not say join within {_JOIN_S:g} s"
            self._dismiss(connection, Goodbye(reason=GoodbyeReason.MISBEHAVED, sentence=sentence))

    def _join(self, connection: Connection, join: Join) -> None:
        with self._seats.changed:
            self._strangers.pop(connection, None)
        welcome = self._greet(join)
        if welcome.refusal is not None:
            connection.send(encode_act_response(SessionWelcome(welcome=welcome)))
            goodbye = Goodbye(reason=GoodbyeReason.REFUSED, sentence=welcome.refusal.sentence)
            self._dismiss(connection, goodbye)
            return
        if join.num_environments > self._most_copies:
            sentence = (
                f"{join.name} has num_environments={join.num_environments}; the run takes 1 to "
                f"{self._most_copies} copies on one stream: open more streams, or raise "
                "num_envs_per_env_runner of the run"
            )
            _LOGGER.warning("refused %s: %s", connection.peer, printable(sentence))
            with self._seats.changed:
                self._tally.num_refused += 1
            self._dismiss(connection, Goodbye(reason=GoodbyeReason.REFUSED, sentence=sentence))
            return
        connection.send(encode_act_response(SessionWelcome(welcome=welcome, terms=self._terms)))
        connection.keep(self._terms)
        self._streams[connection] = self._seat(connection, join)

    def _dismiss(self, connection: Connection, goodbye: Goodbye) -> None:
        """Send a peer away, once; nothing of it is taken any more."""
        with self._seats.changed:
            if connection not in self._open:
                return
            self._open.discard(connection)
            self._strangers.pop(connection, None)
            self._tally.num_cut_off += goodbye.reason is GoodbyeReason.MISBEHAVED
        if goodbye.reason is GoodbyeReason.MISBEHAVED:
            _LOGGER.warning("cut off %s: %s", connection.peer, printable(goodbye.sentence))
        connection.close(encode_act_response(goodbye))

    @property
    def _graph(self) -> PolicyGraph:
        assert isinstance(self._plan.policy, PolicyGraph), "a peer was greeted that cannot be acted for"
        return self._plan.policy

    @property
    def _most_copies(self) -> int:
        """Copies have numbers of their own within the run, of which a seat has so many."""
        return self._plan.settings.num_envs_per_env_runner

    def _seat(self, connection: Connection, join: Join) -> _Stream:
        vector = RemoteVector(
            self._graph.observation_space,
            self._graph.action_space,
            join.num_environments,
            send=lambda action: connection.send(encode_act_response(action)),
            timeout_s=self._plan.settings.env_step_timeout_s,
        )
        member = self._policy.member()
        runner = ActingRunner(
            f"{printable(join.name, at_most=80) or 'a peer'} ({connection.peer})",
            vector,
            member,
            lambda index, incarnation: self._make(vector, member, index, incarnation),
            dismiss=lambda goodbye: self._dismiss(connection, goodbye),
        )
        runner.start(self._seats.occupy(runner))
        return _Stream(vector, runner)

    def _make(self, vector: RemoteVector, member: Member, index: int, incarnation: int) -> EnvRunner:
        """Make a runner whose fragments have as many rows as those of others, whatever its copies."""
        plan = self._plan
        return EnvRunner(
            plan.environment,
            replace(plan.settings, num_envs_per_env_runner=vector.num_envs),
            member,
            observation_space=self._graph.observation_space,
            action_heads=self._graph.action_heads,
            num_steps=-(-plan.num_rows // vector.num_envs),
            seed=plan.seed,
            first_environment=(plan.first_runner + index) * self._most_copies,
            incarnation=incarnation,
            vector=vector,
        )


class _Stream:
    """A peer that has joined."""

    def __init__(self, vector: RemoteVector, runner: ActingRunner) -> None:
        self.vector = vector
        self.runner = runner
