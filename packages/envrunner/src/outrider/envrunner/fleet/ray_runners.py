"""Runners as Ray actors: the driver's side of `outrider.envrunner.fleet.ray_runner_actor`.

    RunnerFleet --- ask, offer, start, stop ---> RayRunners --- calls ---> one actor for each runner
                <-- Ready, Waiting, Sampled, ... ---        <-- ray.wait on all answers at once ---

The driver reads summaries and moves references; fragments and weights stay in Ray's object store. Ray
restarts nothing by itself here: whether a lost runner is made anew is decided by the fleet.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from time import monotonic, sleep
from typing import Any, Literal, TypeAlias

import cloudpickle
import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)

from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
from outrider.envrunner.fleet.planned_runner import CAST
from outrider.envrunner.fleet.ray_runner_actor import (
    WEIGHTS_GROUP,
    Answer,
    RunnerActor,
    raise_failure,
)
from outrider.envrunner.fleet.remote_runners import (
    NOBODY,
    Admission,
    Failed,
    Lost,
    Placed,
    Ready,
    RunnerEvent,
    Sampled,
    Waiting,
)
from outrider.envrunner.introduction import introduction
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.weights_loading import LostWeightsError
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.envrunner.sampling.runner_protocol import SamplingPlan
from outrider.transport import WeightsReference
from outrider.transport.ray_pieces import PolicyPieces, RayPolicies
from outrider.transport.ray_references import (
    Message,
    RayFragment,
    RayWeights,
    put_weights,
    read_fragment_summary,
)
from outrider.wire import FragmentSummary, decode_welcome, encode_hello

Options: TypeAlias = Callable[[int], Mapping[str, Any]]
"""What to pass to Ray's `.options` for the actor of a runner: resources, placement, runtime environment."""

_LOGGER = logging.getLogger("outrider.envrunner")
_CLOSE_TIMEOUT_S = 3.0
_LONGEST_WAIT_S = 3600.0  # Ray takes no infinity
_remote: Any = ray.remote  # its overloads know no concurrency groups
_ACTOR_CLASS = _remote(concurrency_groups={WEIGHTS_GROUP: 1}, max_restarts=0)(RunnerActor)
_IN_PIECES = -1
"""Stands for a version that runners have where all of them are given the same pieces."""
_READ_TIMEOUT_S = 60.0  # of an answer that is known to be there
_LOST = (
    RayActorError,
    NodeDiedError,
    WorkerCrashedError,
    ObjectLostError,
    OutOfMemoryError,
    GetTimeoutError,
)


def _no_options(_: int) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that was made and not yet answered."""

    method: Literal["greet", "make", "sample"]
    answer: ray.ObjectRef[Any]
    fragment: ray.ObjectRef[Message] | None = None
    version: int = 0
    """Of the weights that a sample was asked for with."""


@dataclass(slots=True)
class _Actor:
    """One runner's process, as far as the driver knows."""

    handle: Any
    incarnation: int
    start_deadline: float | None
    """When it must have made its environments; infinity while it waits for room, None once it has."""
    calls: deque[_Call] = field(default_factory=deque)
    """In the order in which they will be answered."""
    version_sent: int | None = None
    """Newest weights that a request brought."""
    acted: int | None = None
    """Version of the weights that it has all that it needs of; None: nobody knows."""
    takes_pieces: bool = False
    """Whether it fetches policies that it plays, where there are many."""
    num_before: int = 0
    """Samples to come that say nothing of that: the runner was told to begin anew since."""


class RayRunners:
    """`RemoteRunners` on Ray, which must be connected already. For one thread."""

    def __init__(
        self,
        plan: SamplingPlan,
        *,
        num_runners: int,
        options: Options = _no_options,
        start_timeout_s: float = 60.0,
        run: str = "",
    ) -> None:
        """Put the plan into the object store; no actor is made before `start`.

        A runner whose environments are not made `start_timeout_s` seconds after its process was heard of
        is lost; one that Ray has not placed as long after its `start` is left to wait. `run` names the run
        in Ray's metrics.
        """
        self._num_runners = num_runners
        self._options = options
        self._start_timeout_s = start_timeout_s
        self._run = run
        self._given_plan = plan
        self._selection = plan.weights_selection() if isinstance(plan, MultiAgentPlan) else None
        self._pieces = PolicyPieces()
        self._plan = ray.put(plan.to_message(dump=cloudpickle.dumps))
        self._hello = encode_hello(introduction("the training process", frozenset({ON_DEMAND})))
        self._actors: dict[int, _Actor] = {}
        self._events: list[RunnerEvent] = []
        self._given: WeightsReference | None = None
        self._put: dict[int | None, RayWeights | RayPolicies] = {}
        """What is in the object store of the weights given last, by what runners have already."""
        self._offered: WeightsReference | None = None

    @property
    def num_runners(self) -> int:
        """How many there can be."""
        return self._num_runners

    @property
    def admission(self) -> Admission:
        """Nobody comes by himself."""
        return NOBODY

    def start(self, index: int, *, incarnation: int) -> None:
        """Ask Ray for an actor; the handshake comes first, then environments are made."""
        assert index not in self._actors, f"runner {index} is up; stop it before it is made anew"
        deadline = monotonic() + self._start_timeout_s  # making an actor may take a second
        try:
            handle = _ACTOR_CLASS.options(**self._options(index)).remote()
        except (TypeError, ValueError) as error:  # Ray refuses an option
            self._events.append(Failed(index, ValueError(f"runner {index} cannot be started: {error}")))
            return
        actor = _Actor(handle, incarnation, deadline)
        actor.calls.append(_Call("greet", handle.call.remote("greet", self._hello)))
        self._actors[index] = actor

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask a runner for a fragment; weights go into the object store once, whoever is asked."""
        actor = self._actors[index]
        acting = self._offered if weights is None else weights
        assert acting is not None, "offer weights before asking for a fragment without them"
        is_new = actor.version_sent is None or acting.version > actor.version_sent
        refs = [self._in_store(acting, actor).ref] if is_new else []
        answer, fragment = actor.handle.sample.remote(weights is not None, acting.version, refs)
        actor.calls.append(_Call("sample", answer, fragment, acting.version))
        actor.version_sent = acting.version

    def offer(self, weights: WeightsReference) -> None:
        """Give newer weights to all runners."""
        self._offered = weights
        for actor in self._actors.values():
            if actor.start_deadline is None:
                self._send_offer(actor)

    def events(self, timeout_s: float) -> list[RunnerEvent]:
        """Wait for the first answer of any runner, and return all that have come."""
        deadline = monotonic() + (0.0 if self._events else timeout_s)
        while True:
            self._take_answers(deadline)
            self._give_up_slow_starts()
            if self._events or monotonic() >= deadline:
                events, self._events = self._events, []
                return events

    def get_state(self, index: int, timeout_s: float) -> Mapping[str, Any]:
        """Return a runner's state; see `RemoteRunners`."""
        state: Mapping[str, Any] = self._call_now(index, "get_state", timeout_s)["state"]
        return state

    def set_state(self, index: int, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let a runner continue from a state; see `RemoteRunners`."""
        self._call_now(index, "set_state", timeout_s, state)
        if state.keys() != {CAST}:
            self._pieces = PolicyPieces()  # the weights may be of another time of the run
            self._given = None
        actor = self._actors[index]
        actor.version_sent = actor.acted = None  # weights have to be set again
        actor.num_before = sum(call.method == "sample" for call in actor.calls)

    def check_cast(self, cast: Cast) -> None:
        """Let runners have the weights of more policies."""
        assert isinstance(self._given_plan, MultiAgentPlan)
        assert self._selection is not None
        plan = self._given_plan.recast(cast)
        if self._selection.also(plan.played(), num_policies=len(plan.policies)):
            self._given, self._put = None, {}

    def recast(self, index: int, cast: Cast, timeout_s: float) -> None:
        """Let a runner act with other policies; see `RemoteRunners`."""
        self.set_state(index, {CAST: cast.to_message(cloudpickle.dumps)}, timeout_s)

    def stop(self, index: int, reason: str = "") -> None:
        """Kill a runner's process."""
        actor = self._actors.pop(index, None)
        if actor is not None:
            ray.kill(actor.handle)

    def close(self) -> None:
        """Let the environments close for a while, and end all processes."""
        if not ray.is_initialized():  # then they have ended already, and a call would start a Ray
            self._actors.clear()
        closing = [
            actor.handle.call.remote("close")
            for actor in self._actors.values()
            if actor.start_deadline is None
        ]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_TIMEOUT_S)
        for index in list(self._actors):
            self.stop(index)
        self._events.clear()
        self._given = self._offered = None
        self._put = {}

    def _in_store(self, weights: WeightsReference, actor: _Actor) -> RayWeights | RayPolicies:
        """Put what a runner needs into the object store, once for all runners that need the same."""
        if weights is not self._given:
            self._put, self._given = {}, weights
        selection = self._selection
        in_pieces = selection is not None and selection.is_on_demand and actor.takes_pieces
        since = _IN_PIECES if in_pieces else actor.acted
        if since not in self._put:
            if in_pieces:
                self._put[since] = self._in_pieces(weights)
            elif isinstance(weights, RayWeights):  # a rank put them
                self._put[since] = weights
            else:
                self._put[since] = put_weights(weights if selection is None else selection.of(weights, since))
        return self._put[since]

    def _in_pieces(self, weights: WeightsReference) -> RayWeights | RayPolicies:
        """Put pieces of which runners fetch some, so that no node but this one needs all of the weights."""
        try:
            return self._pieces.put(weights.load())
        except (ConnectionError, TimeoutError):
            if not isinstance(weights, RayWeights):
                raise
            return weights  # gone: runners find that out, and go on with those that they have

    def _send_offer(self, actor: _Actor) -> None:
        if self._offered is not None:
            offer = actor.handle.offer.options(num_returns=0)
            offer.remote(self._offered.version, [self._in_store(self._offered, actor).ref])

    def _take_answers(self, deadline: float) -> None:
        """Wait once for all calls that are not answered, and turn answers into events."""
        refs = [call.answer for actor in self._actors.values() for call in actor.calls]
        starts = [actor.start_deadline for actor in self._actors.values() if actor.start_deadline is not None]
        timeout_s = min(max(0.0, min([deadline, *starts]) - monotonic()), _LONGEST_WAIT_S)
        if not refs:
            sleep(timeout_s)
            return
        ready, _ = ray.wait(refs, timeout=timeout_s)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        answered = set(ready)
        for index, actor in list(self._actors.items()):
            while actor.calls and actor.calls[0].answer in answered:
                self._take(index, actor, actor.calls.popleft())

    def _take(self, index: int, actor: _Actor, call: _Call) -> None:
        try:
            answer = ray.get(call.answer, timeout=_READ_TIMEOUT_S)
            raise_failure(answer, index)
            match call.method:
                case "greet":
                    self._welcome(index, actor, answer["welcome"])
                case "make":
                    actor.start_deadline = None
                    self._send_offer(actor)
                    self._events.append(Ready(index))
                case "sample":
                    assert call.fragment is not None
                    summary = read_fragment_summary(answer["summary"])
                    self._note_acted(actor, summary)
                    if summary.policy_version < call.version:
                        actor.version_sent = None  # the weights did not reach it; send them once more
                    self._events.append(Sampled(index, RayFragment(call.fragment, summary)))
        except Exception as error:  # noqa: BLE001 - all of it is told
            self._tell(index, error)

    def _note_acted(self, actor: _Actor, summary: FragmentSummary) -> None:
        """Note which weights a runner has: at least those of its oldest row."""
        if actor.num_before:
            actor.num_before -= 1
        elif summary.num_rows:
            actor.acted = max(summary.policy_version, actor.acted or 0)

    def _welcome(self, index: int, actor: _Actor, welcome: bytes) -> None:
        """Read the answer to the Hello, and go on to make the environments."""
        answer = decode_welcome(welcome)
        if answer.refusal is not None:
            raise ValueError(f"runner {index} was refused: {answer.refusal.sentence}")
        actor.takes_pieces = ON_DEMAND in answer.capabilities
        actor.start_deadline = monotonic() + self._start_timeout_s  # nobody may have listened for long
        self._events.append(Placed(index))
        made = actor.handle.call.remote("make", self._plan, index, actor.incarnation, self._run)
        actor.calls.append(_Call("make", made))

    def _tell(self, index: int, error: Exception) -> None:
        """Note that a runner is lost, or that it failed in a way that would come again."""
        if isinstance(error, RayActorError) and error.actor_init_failed:
            error = RuntimeError(
                f"runner {index}'s process could not load its part; install outrider-envrunner[ray] where it "
                f"runs, or correct the runners' runtime environment: {error}"
            )
        elif isinstance(error, _LOST):
            self.stop(index)
            _LOGGER.debug("runner %d is gone: %s", index, error)
            self._events.append(Lost(index, "its process is gone"))
            return
        elif isinstance(error, LostWeightsError):
            self.stop(index)
            self._events.append(Lost(index, str(error)))
            return
        elif isinstance(error, RayError):
            error = RuntimeError(f"runner {index} cannot be called: {error}")
        if self._actors[index].start_deadline is not None:
            self.stop(index)
        self._events.append(Failed(index, error))

    def _give_up_slow_starts(self) -> None:
        now = monotonic()
        for index, actor in list(self._actors.items()):
            if actor.start_deadline is None or now < actor.start_deadline:
                continue
            late = f"it was not ready within runner_start_timeout_s={self._start_timeout_s:g}"
            if actor.calls and actor.calls[0].method == "greet":
                actor.start_deadline = inf
                wanted = _in_words(self._options(index))
                self._events.append(
                    Waiting(
                        index,
                        f"{late}, because Ray has not placed its process, which waits for {wanted}; add a "
                        "node with room, end what uses it, or raise that",
                    )
                )
            else:
                self.stop(index)
                reason = (
                    f"{late}, because it is still making its environments; raise that if they take so long"
                )
                self._events.append(Lost(index, reason))

    def _call_now(self, index: int, name: str, timeout_s: float, *arguments: object) -> Answer:
        """Call a runner and wait. Raises ConnectionError, TimeoutError, or what the runner raised."""
        if index not in self._actors:
            raise ConnectionError(f"runner {index} is not up")
        try:
            ref = self._actors[index].handle.call.remote(name, *arguments)
            answer: Answer = ray.get(ref, timeout=timeout_s)
        except GetTimeoutError:
            raise TimeoutError(f"runner {index} did not answer {name!r} within {timeout_s:g} s") from None
        except _LOST as error:
            raise ConnectionError(f"runner {index} is gone") from error
        raise_failure(answer, index)
        return answer


def _in_words(options: Mapping[str, Any]) -> str:
    """Say what Ray has to find for an actor with these options."""
    amounts = {"CPU": options.get("num_cpus"), "GPU": options.get("num_gpus")}
    wanted = [
        f"{amount:g} {name}" for name, amount in {**amounts, **options.get("resources", {})}.items() if amount
    ]
    if options.get("runtime_env"):
        wanted.append("its runtime environment")
    return " and ".join(wanted) or "a free process"
