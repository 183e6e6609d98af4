"""Runners that dial in: a `RemoteRunners` over connections.

    outrider-farm, any language ---- RunnerService ----> RunnerService: sessions ---+
                                                                                    |--> Seats <--- the fleet
    environments without a policy -- ActService -------> ActSessions: runners here -+

The network's thread lets peers in and takes what they send; the driver's thread asks, and checks the
fragments that it takes. What both need is behind one lock, `Seats.changed`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from outrider.envrunner.fleet.planned_runner import CAST
from outrider.envrunner.fleet.remote_runners import Admission, RunnerEvent
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.act_refusal import ActRefusal
from outrider.envrunner.gateway.act_session import ActSessions
from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.gateway.peer_log import Tally, printable
from outrider.envrunner.gateway.runner_service import RunnerService
from outrider.envrunner.gateway.seats import Occupant, Seats
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.weights_loading import saying_that_weights_are_lost
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.transport import WeightsReference
from outrider.transport.addresses import is_guarded
from outrider.transport.connection import Receiver
from outrider.transport.security import ServerSecurity
from outrider.wire import Bytes, Limits, Welcome, encode_tree
from outrider.wire.session import Goodbye, GoodbyeReason, Join

if TYPE_CHECKING:
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan

_LOGGER = logging.getLogger("outrider.envrunner")
_TEND_S = 0.05
"""How often it is seen to that who does not come back is given up, and waiting weights are sent."""
_CLOSE_S = 1.0
SAMPLE = "outrider.wire.v1.RunnerService/Sample"
ACT = "outrider.wire.v1.ActService/Act"
_OVER = Goodbye(reason=GoodbyeReason.DONE, sentence="the training run is over")
_STOPPED = Goodbye(reason=GoodbyeReason.LATER, sentence="the training run was stopped and may be resumed")


class Listening(Protocol):
    """A port that is open."""

    @property
    def address(self) -> str:
        """Where to dial, with the port that the system chose."""
        ...

    @property
    def num_refused(self) -> int:
        """Connections that were not let in: without a token, with a wrong one, or too many."""
        ...

    def close(self, grace_s: float) -> None:
        """Close all connections, after what is queued is sent."""
        ...


Listen: TypeAlias = Callable[[Mapping[str, Receiver]], Listening]


class Gateway:
    """Seats for runners of farms. The methods of `RemoteRunners` are for one thread."""

    def __init__(
        self,
        plan: RunnerPlan | MultiAgentPlan,
        settings: EnvRunnerSettings,
        *,
        num_seats: int,
        address: str,
        security: ServerSecurity,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        listen: Listen | None = None,
    ) -> None:
        """Open `address` to peers, who get `num_seats` seats once those are started.

        Raises ValueError or OSError where it cannot be opened. `listen` is for tests without a network.
        """
        self._num_runners = num_seats
        self._seats_all = frozenset(range(num_seats))
        self._tally = Tally()
        guarded = listen is None and is_guarded(address, security)
        self._invitation = Invitation(plan, settings, limits, is_guarded=guarded)
        self._checked: WeightsReference | None = None
        self._seats = Seats(num_seats)
        self._runners = RunnerService(self._seats, self._invitation, self._tally)
        services: dict[str, Receiver] = {SAMPLE: self._runners}
        self._acting: ActSessions | None = None
        if isinstance(plan, RunnerPlan) and self._invitation.is_exported:
            services[ACT] = self._acting = ActSessions(
                plan,
                self._seats,
                greet=self._greet,
                terms=self._invitation.terms,
                delay_s=settings.act_batch_delay_s,
                limits=limits,
                tally=self._tally,
            )
        elif not isinstance(plan, RunnerPlan):
            services[ACT] = ActRefusal(self._seats, self._tally)
        listen = listen or _listener(address, settings, security, limits)
        self._listening: Listening | None = listen(services)
        self._num_kept_out = 0
        self._cast: Cast | None = None
        """What runners were told last, encoded once for all."""
        self._cast_message: Sequence[Bytes] = ()
        self.address = self._listening.address
        """Where to dial, with the port that the system chose."""
        self.is_last = True
        """Whether runners are told, when this is closed, that there is nothing to come back for."""
        self._seats.empty = f"farms are awaited at {self.address}"

    @property
    def num_runners(self) -> int:
        """How many seats there are."""
        return self._num_runners

    @property
    def admission(self) -> Admission:
        """All seats are for whoever comes."""
        with self._seats.changed:
            counts = asdict(self._tally)
        if self._listening is not None:
            self._num_kept_out = self._listening.num_refused
        counts["num_refused"] += self._num_kept_out
        return Admission(seats=self._seats_all, **counts)

    def reserve(self, index: int) -> str:
        """Keep a seat for a runner of our own; return the session with which only it can join.

        Before `start`, which the seat's `stop` ends with the reservation.
        """
        return self._seats.reserve(index)

    def start(self, index: int, *, incarnation: int) -> None:
        """Open a seat: `Waiting`, or `Placed` for who has waited, is next."""
        self._seats.start(index, incarnation)

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask for a fragment. Raises ValueError for weights of another module."""
        if weights is not None:
            self._prepare(weights)
        self._seats.ask(index, weights)

    def offer(self, weights: WeightsReference) -> None:
        """Give newer weights to all. Raises ValueError for those of another module."""
        self._prepare(weights)
        self._seats.offer(weights)

    def events(self, timeout_s: float) -> Sequence[RunnerEvent]:
        """Return what happened, fragments checked, and wait up to `timeout_s` for the first."""
        deadline = monotonic() + timeout_s
        while True:
            self._runners.tend()
            if self._acting is not None:
                self._acting.tend()
            remaining_s = deadline - monotonic()
            events = self._seats.events(max(0.0, min(remaining_s, _TEND_S)))
            if events or remaining_s <= 0:
                return events

    def get_state(self, index: int, timeout_s: float) -> Mapping[str, Any]:
        """Return the state of a runner that nothing is asked of; see `RemoteRunners`."""
        return self._occupant(index).get_state(timeout_s)

    def set_state(self, index: int, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let a runner continue from a state; see `RemoteRunners`."""
        self._occupant(index).set_state(state, timeout_s)

    def check_cast(self, cast: Cast) -> None:
        """Refuse functions: none crosses a network."""
        if cast.mapping is not None and not isinstance(cast.mapping, Matchups):
            raise ValueError(
                "runners that are connected cannot be given a policy_mapping_fn; use set_matchups, which are "
                "plain data, or give the function before the run starts"
            )
        self._invitation.recast(cast)

    def recast(self, index: int, cast: Cast, timeout_s: float) -> None:
        """Let a runner act with other policies; see `RemoteRunners`. Nothing is waited for."""
        if cast is not self._cast:
            self._cast, self._cast_message = cast, encode_tree({CAST: cast.to_message()}).pieces()
        self._seats.recast(index, self._cast_message)

    def stop(self, index: int, reason: str = "") -> None:
        """Close a seat; whoever sits there is sent away, told why, and may come again."""
        self._seats.stop(index, reason)

    def close(self) -> None:
        """Tell all that the run is over, or where it may go on that it is stopped, and close the port."""
        listening, self._listening = self._listening, None
        if listening is not None:
            self._seats.close(_OVER if self.is_last else _STOPPED)
            listening.close(_CLOSE_S)
            self._runners.close()

    def _occupant(self, index: int) -> Occupant:
        self._runners.tend()  # who waits for one after the other hears of no event meanwhile
        return self._seats.occupant(index)

    def _prepare(self, weights: WeightsReference) -> None:
        """Check and encode weights here, where nobody waits for the lock."""
        if weights is not self._checked:
            with saying_that_weights_are_lost():
                self._invitation.check_weights(weights)
                self._runners.prepare(weights)
            self._checked = weights

    def _greet(self, join: Join) -> Welcome:
        """Answer an environment that is to be acted for."""
        welcome = self._invitation.welcome(join, is_stranger=True)
        if welcome.refusal is not None:
            _LOGGER.warning("refused %s: %s", printable(join.name), printable(welcome.refusal.sentence))
            with self._seats.changed:
                self._tally.num_refused += 1
        return welcome


def _listener(address: str, settings: EnvRunnerSettings, security: ServerSecurity, limits: Limits) -> Listen:
    def listen(services: Mapping[str, Receiver]) -> Listening:
        from outrider.transport.grpc_listener import Listener

        return Listener(
            address,
            services,
            security=security,
            limits=limits,
            max_connections_per_identity=settings.max_runners_per_token,
            max_messages_per_s=max(1, round(settings.max_messages_per_s)),
        )

    return listen
