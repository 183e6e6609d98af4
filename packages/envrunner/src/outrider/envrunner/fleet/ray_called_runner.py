"""One runner's Ray actor as the driver knows it: what it was asked, and which weights it has."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)

from outrider.envrunner.fleet.ray_runner_actor import Answer, raise_failure
from outrider.transport.ray_pieces import RayPolicies
from outrider.transport.ray_references import Message, RayWeights
from outrider.wire import FragmentSummary

LOST = (
    RayActorError,
    NodeDiedError,
    WorkerCrashedError,
    ObjectLostError,
    OutOfMemoryError,
    GetTimeoutError,
)
"""What Ray raises where a runner's process is gone."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made and not yet answered."""

    method: Literal["greet", "make", "sample"]
    answer: ray.ObjectRef[Any]
    fragment: ray.ObjectRef[Message] | None = None
    version: int = 0
    """Of the weights that a sample was asked for with."""


class CalledRunner:
    """Calls an actor; see `outrider.envrunner.fleet.ray_runner_actor`. Only `call_now` waits."""

    def __init__(
        self,
        handle: Any,  # noqa: ANN401 - Ray's handles have no type
        index: int,
        incarnation: int,
        start_deadline: float,
    ) -> None:
        """Call nothing yet; `index` and `incarnation` are the runner's."""
        self.handle = handle
        self._index = index
        self._incarnation = incarnation
        self.start_deadline: float | None = start_deadline
        """When it must have made its environments; infinity while it waits for room, None once it has."""
        self.calls: deque[Call] = deque()
        """Those that are not answered, in the order in which they will be."""
        self.takes_pieces = False
        """Whether it fetches policies that it plays, where there are many."""
        self.acted: int | None = None
        """Version of the weights that it has all that it needs of; None: nobody knows."""
        self._version_sent: int | None = None
        """Newest weights that a request brought."""
        self._num_before = 0
        """Samples to come that say nothing of what it has: it was told to begin anew since."""

    def greet(self, hello: bytes) -> None:
        """Begin the handshake."""
        self.calls.append(Call("greet", self.handle.call.remote("greet", hello)))

    def make(self, plan: ray.ObjectRef[Any], run: str) -> None:
        """Let it make its environments."""
        made = self.handle.call.remote("make", plan, self._index, self._incarnation, run)
        self.calls.append(Call("make", made))

    def lacks(self, version: int) -> bool:
        """Whether weights have to come with a request for a fragment."""
        return self._version_sent is None or version > self._version_sent

    def sample(self, version: int, weights: RayWeights | RayPolicies | None, *, exact: bool) -> None:
        """Ask for a fragment with weights of a version, or newer ones unless `exact`; None: it has them."""
        refs = [] if weights is None else [weights.ref]
        answer, fragment = self.handle.sample.remote(exact, version, refs)
        self.calls.append(Call("sample", answer, fragment, version))
        self._version_sent = version

    def offer(self, version: int, weights: RayWeights | RayPolicies) -> None:
        """Give newer weights."""
        self.handle.offer.options(num_returns=0).remote(version, [weights.ref])

    def note_sampled(self, asked: int, summary: FragmentSummary) -> None:
        """Note which weights it has that was `asked` to act with some: those of its oldest row at least."""
        if self._num_before:
            self._num_before -= 1
        elif summary.num_rows:
            self.acted = max(summary.policy_version, self.acted or 0)
        if summary.policy_version < asked:
            self._version_sent = None  # the weights did not reach it; send them once more

    def begin_anew(self) -> None:
        """Take it for one that has no weights."""
        self._version_sent = self.acted = None
        self._num_before = sum(call.method == "sample" for call in self.calls)

    def call_now(self, name: str, timeout_s: float, *arguments: object) -> Answer:
        """Call and wait. Raises ConnectionError, TimeoutError, or what the runner raised."""
        try:
            ref = self.handle.call.remote(name, *arguments)
            answer: Answer = ray.get(ref, timeout=timeout_s)
        except GetTimeoutError:
            raise TimeoutError(
                f"runner {self._index} did not answer {name!r} within {timeout_s:g} s"
            ) from None
        except LOST as error:
            raise ConnectionError(f"runner {self._index} is gone") from error
        raise_failure(answer, self._index)
        return answer

    def close(self) -> ray.ObjectRef[Any]:
        """Let it close its environments; return what to wait for."""
        closed: ray.ObjectRef[Any] = self.handle.call.remote("close")
        return closed

    def kill(self) -> None:
        """End its process."""
        ray.kill(self.handle)
