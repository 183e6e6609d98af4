"""A runner in a process of Ray's: the far side of `outrider.envrunner.fleet.ray_runners`.

    driver                                                  actor
    call("greet", hello) --------------------------------->  {"welcome": bytes}
    call("make", plan, index, incarnation, run) ---------->  {}
    sample(exact, version, [weights]) -------------------->  {"summary": bytes}, fragment
    offer(version, [weights]) ---------------------------->  at any time, beside a fragment being sampled
    call("get_state") / call("set_state", state) --------->  {"state": state} / {}
    call("close") ---------------------------------------->  {}

A reference of weights is to a message `Weights`, or where driver and runner both have the capability
"policies_on_demand" maybe to the index of weights in pieces (`outrider.transport.ray_pieces`). Then the
runner reads what it holds, and later, while it acts with them, the policies that begin to play.

What went wrong is answered as {"error": kind, "text": sentence, "traceback": text}. Only plain values,
arrays, bytes and buffers cross: the two sides may be of different releases, and this drawing is a
contract as the protos are.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import cloudpickle
import ray

from outrider.envrunner.environments.restarts import EnvironmentsFailedError
from outrider.envrunner.fleet.plan_message import plan_from_message
from outrider.envrunner.fleet.ray_policy_source import GivenWeights, PolicySource
from outrider.envrunner.fleet.ray_runner_metrics import RunnerMetrics
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.introduction import introduction
from outrider.envrunner.policies.weights_loading import LostWeightsError, load_newer
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.envrunner.sampling.runner_protocol import SamplingRunner
from outrider.transport.ray_references import Message, to_message
from outrider.wire import (
    all_parts,
    answer_hello,
    decode_hello,
    encode_fragment,
    encode_fragment_summary,
    encode_welcome,
    summarise,
)

Answer: TypeAlias = dict[str, Any]
WeightsRefs: TypeAlias = Sequence["ray.ObjectRef[Any]"]
"""At most one. In a list, because Ray would load a bare reference before every call."""

WEIGHTS_GROUP = "weights"
"""Calls of this concurrency group have a thread of their own and do not wait for a fragment."""
_ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (EnvironmentsFailedError, LostWeightsError, ValueError, ConnectionError, TimeoutError)
}
"""Errors that keep their class on the way to the driver; others are told as RuntimeError."""


class RunnerActor:
    """What Ray calls. It never changes.

    Ray hands each method of the driver's release on by its name, and makes no actor where one of them is
    missing in the runner's release. So there are exactly these, and new calls are new words for `call`.
    """

    def __init__(self) -> None:
        self._runner = RunnerProcess()

    def call(self, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        return self._runner.call(name, *arguments)

    @ray.method(num_returns=2)
    def sample(self, exact: bool, version: int, weights: WeightsRefs) -> tuple[Answer, Message | None]:  # noqa: FBT001
        return self._runner.sample(exact, version, weights)

    @ray.method(concurrency_group=WEIGHTS_GROUP)
    def offer(self, version: int, weights: WeightsRefs) -> None:
        self._runner.offer(version, weights)


class RunnerProcess:
    """Samples with one runner; each public method but `call` is a word of the drawing above."""

    def __init__(self) -> None:
        self._runner: SamplingRunner
        self._metrics: RunnerMetrics
        self._offered: GivenWeights | None = None
        self._on_demand = False
        self._source = PolicySource()

    def call(self, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        """Answer a call, also one that goes wrong."""
        calls: dict[str, Callable[..., Answer]] = {
            "greet": self.greet,
            "make": self.make,
            "get_state": self.get_state,
            "set_state": self.set_state,
            "close": self.close,
        }
        if name not in calls:
            own = introduction("a runner on Ray").component
            return _failure(ValueError(f"{own} knows no call {name!r}; upgrade it"))
        try:
            return calls[name](*arguments)
        except Exception as error:  # noqa: BLE001 - told to the driver
            return _failure(error)

    def greet(self, hello: bytes) -> Answer:
        own = introduction("a runner on Ray", frozenset({ON_DEMAND}))
        welcome = answer_hello(decode_hello(hello), own)
        self._on_demand = ON_DEMAND in welcome.capabilities
        return {"welcome": encode_welcome(welcome)}

    def make(self, plan: Mapping[str, Any], index: int, incarnation: int, run: str) -> Answer:
        """Make the policy and the environments."""
        decoded = plan_from_message(plan, load=cloudpickle.loads)
        if self._on_demand and not isinstance(decoded, RunnerPlan):
            self._runner = self._source.holder = decoded.make_runner(index, incarnation, self._source.fetch)
        else:
            self._runner = decoded.make_runner(index, incarnation)
        self._metrics = RunnerMetrics(run, index)
        return {}

    def offer(self, version: int, weights: WeightsRefs) -> None:
        """Let newer weights act from the next fragment on that is not asked for with exact ones."""
        self._offered = self._newer(self._offered, version, weights)

    def sample(self, exact: bool, version: int, weights: WeightsRefs) -> tuple[Answer, Message | None]:  # noqa: FBT001
        """Sample a fragment with the weights of `version`, or unless `exact` with newer ones that came.

        `weights` is empty where this runner was given that version before. Where they do not come it
        goes on with those that it has, and the summary says so by their version.
        """
        try:
            newer = self._newer(None if exact else self._offered, version, weights)
            load_newer(self._runner, newer)
            fragment = self._runner.sample()
        except Exception as error:  # noqa: BLE001 - told to the driver
            return _failure(error), None
        num_rows = sum(part.num_rows for part in all_parts(fragment))
        self._metrics.record(num_rows, fragment.statistics)
        summary = encode_fragment_summary(summarise(fragment))
        return {"summary": summary}, to_message(encode_fragment(fragment))

    def get_state(self) -> Answer:
        return {"state": self._runner.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> Answer:
        self._runner.set_state(state)
        return {}

    def close(self) -> Answer:
        """Close the environments."""
        self._runner.close()
        return {}

    def _newer(self, present: GivenWeights | None, version: int, weights: WeightsRefs) -> GivenWeights | None:
        """Return the newer of two sets of weights; of one version the later, which may hold more policies."""
        if not weights or (present is not None and present.version > version):
            return present
        return GivenWeights(weights[0], version, self._source.read)


def raise_failure(answer: Answer, index: int) -> None:
    """Raise what a runner's answer tells of, with the runner's traceback as a note."""
    if "error" in answer:
        error = _ERRORS.get(answer["error"], RuntimeError)(answer["text"])
        error.add_note(f"In runner {index}:\n{answer['traceback']}")
        raise error


def _failure(error: Exception) -> Answer:
    kind = next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), "RuntimeError")
    text = str(error) if kind in _ERRORS else f"{type(error).__name__}: {error}"
    return {"error": kind, "text": text, "traceback": "".join(traceback.format_exception(error))}
