"""Runners as Ray actors: the driver's side of `outrider.envrunner.fleet.ray_runner_actor`.

    RunnerFleet --- ask, offer, start, stop ---> RayRunners --- calls ---> one actor for each runner
                <-- Ready, Waiting, Sampled, ... ---        <-- ray.wait on all answers at once ---

The driver reads summaries and moves references; fragments and weights stay in Ray's object store. Ray
restarts nothing by itself here: whether a lost runner is made anew is decided by the fleet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from math import inf
from time import monotonic, sleep
from typing import Any, TypeAlias

import cloudpickle
import ray
from ray.exceptions import RayActorError, RayError

from outrider.envrunner.fleet.planned_runner import CAST
from outrider.envrunner.fleet.ray_called_runner import LOST, Call, CalledRunner
from outrider.envrunner.fleet.ray_runner_actor import WEIGHTS_GROUP, RunnerActor, raise_failure
from outrider.envrunner.fleet.ray_weights import RunnersWeights
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
from outrider.transport.ray_pieces import RayPolicies
from outrider.transport.ray_references import RayFragment, RayWeights, read_fragment_summary
from outrider.wire import decode_welcome, encode_hello

Options: TypeAlias = Callable[[int], Mapping[str, Any]]
"""What to pass to Ray's `.options` for the actor of a runner: resources, placement, runtime environment."""

_LOGGER = logging.getLogger("outrider.envrunner")
_CLOSE_TIMEOUT_S = 3.0
_LONGEST_WAIT_S = 3600.0  # Ray takes no infinity
_remote: Any = ray.remote  # its overloads know no concurrency groups
_ACTOR_CLASS = _remote(concurrency_groups={WEIGHTS_GROUP: 1}, max_restarts=0)(RunnerActor)
_READ_TIMEOUT_S = 60.0  # of an answer that is known to be there


def _no_options(_: int) -> Mapping[str, Any]:
    return {}


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
        self._weights = RunnersWeights(plan)
        self._plan = ray.put(plan.to_message(dump=cloudpickle.dumps))
        self._hello = encode_hello(introduction("the training process", frozenset({ON_DEMAND})))
        self._actors: dict[int, CalledRunner] = {}
        self._events: list[RunnerEvent] = []
        self._offered: WeightsReference | None = None
        self._lost: dict[int, LostWeightsError] = {}
        """Weights without which a runner could not begin, by version, until somebody is told."""

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
        actor = self._actors[index] = CalledRunner(handle, index, incarnation, deadline)
        actor.greet(self._hello)

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask a runner for a fragment; weights go into the object store once, whoever is asked."""
        actor = self._actors[index]
        acting = self._offered if weights is None else weights
        assert acting is not None, "offer weights before asking for a fragment without them"
        lacks = actor.lacks(acting.version)
        if lacks and weights is not None and acting.version in self._lost:
            raise self._lost.pop(acting.version)
        given = self._in_store(acting, actor) if lacks else None
        actor.sample(acting.version, given, exact=weights is not None)

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
        state: Mapping[str, Any] = self._up(index).call_now("get_state", timeout_s)["state"]
        return state

    def set_state(self, index: int, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let a runner continue from a state; see `RemoteRunners`."""
        actor = self._up(index)
        actor.call_now("set_state", timeout_s, state)
        if state.keys() != {CAST}:
            self._weights.forget()
        actor.begin_anew()  # weights have to be set again

    def check_cast(self, cast: Cast) -> None:
        """Let runners have the weights of more policies."""
        self._weights.check_cast(cast)

    def recast(self, index: int, cast: Cast, timeout_s: float) -> None:
        """Let a runner act with other policies; see `RemoteRunners`."""
        self.set_state(index, {CAST: cast.to_message(cloudpickle.dumps)}, timeout_s)

    def stop(self, index: int, reason: str = "") -> None:
        """Kill a runner's process."""
        actor = self._actors.pop(index, None)
        if actor is not None:
            actor.kill()

    def close(self) -> None:
        """Let the environments close for a while, and end all processes."""
        if not ray.is_initialized():  # then they have ended already, and a call would start a Ray
            self._actors.clear()
        closing = [actor.close() for actor in self._actors.values() if actor.start_deadline is None]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_TIMEOUT_S)
        for index in list(self._actors):
            self.stop(index)
        self._events.clear()
        self._offered = None
        self._weights.forget()

    def _up(self, index: int) -> CalledRunner:
        if index not in self._actors:
            raise ConnectionError(f"runner {index} is not up")
        return self._actors[index]

    def _in_store(self, weights: WeightsReference, actor: CalledRunner) -> RayWeights | RayPolicies:
        return self._weights.put(weights, since=actor.acted, takes_pieces=actor.takes_pieces)

    def _send_offer(self, actor: CalledRunner) -> None:
        if self._offered is not None:
            actor.offer(self._offered.version, self._in_store(self._offered, actor))

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

    def _take(self, index: int, actor: CalledRunner, call: Call) -> None:
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
                    actor.note_sampled(call.version, summary)
                    self._events.append(Sampled(index, RayFragment(call.fragment, summary)))
        except Exception as error:  # noqa: BLE001 - all of it is told
            if isinstance(error, LostWeightsError):
                self._lost = {call.version: error}
            self._tell(index, error)

    def _welcome(self, index: int, actor: CalledRunner, welcome: bytes) -> None:
        """Read the answer to the Hello, and go on to make the environments."""
        answer = decode_welcome(welcome)
        if answer.refusal is not None:
            raise ValueError(f"runner {index} was refused: {answer.refusal.sentence}")
        actor.takes_pieces = ON_DEMAND in answer.capabilities
        actor.start_deadline = monotonic() + self._start_timeout_s  # nobody may have listened for long
        self._events.append(Placed(index))
        actor.make(self._plan, self._run)

    def _tell(self, index: int, error: Exception) -> None:
        """Note that a runner is lost, or that it failed in a way that would come again."""
        if isinstance(error, RayActorError) and error.actor_init_failed:
            error = RuntimeError(
                f"runner {index}'s process could not load its part; install outrider-envrunner[ray] where it "
                f"runs, or correct the runners' runtime environment: {error}"
            )
        elif isinstance(error, LOST):
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


def _in_words(options: Mapping[str, Any]) -> str:
    """Say what Ray has to find for an actor with these options."""
    amounts = {"CPU": options.get("num_cpus"), "GPU": options.get("num_gpus")}
    wanted = [
        f"{amount:g} {name}" for name, amount in {**amounts, **options.get("resources", {})}.items() if amount
    ]
    if options.get("runtime_env"):
        wanted.append("its runtime environment")
    return " and ".join(wanted) or "a free process"
