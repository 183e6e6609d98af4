"""The actors of a learner group, from the driver: started together, asked together, ended together.

    start:  greet all -> rank 0 opens the meeting place -> all join -> all have the state
    ask:    the same method of every rank, one answer from each

A rank that is gone takes the whole group with it: the others would wait for it in their next sum.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import cloudpickle
import ray
from ray.exceptions import (
    ActorPlacementGroupRemoved,
    ActorUnschedulableError,
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from outrider.learner.groups.dealt_calls import Answer
from outrider.learner.groups.introduction import introduction
from outrider.learner.groups.rank_error import LostObjectError, LostRankError, read_error
from outrider.learner.learner import StateTree
from outrider.learner.plans.learner_plan import LearnerPlan
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import join_ranks
from outrider.learner.ray_groups.ray_rank import REPORTS_GROUP, RankActor
from outrider.transport import FragmentReference
from outrider.transport.ray_references import RayFragment, RayWeights, put_fragment
from outrider.wire import decode_welcome, encode_hello

Plan: TypeAlias = LearnerPlan | MultiAgentPlan
Options: TypeAlias = Callable[[int], Mapping[str, Any]]
"""What to pass to Ray's `.options` for the actor of a rank: resources, placement, runtime environment."""

_GRACE_S = 3.0
"""How long to wait, once a sum has failed on one rank, for another one to say why."""
_LOST = (RayActorError, NodeDiedError, WorkerCrashedError, ObjectLostError, OutOfMemoryError)
_LOGGER = logging.getLogger("outrider.learner")
_NEVER = (ActorUnschedulableError, ActorPlacementGroupRemoved)


class RayRanks:
    """Ranks that are up; those that sum are in one torch.distributed group."""

    def __init__(self, plan: Plan, *, num_ranks: int, options: Options, run: str) -> None:
        """Start all ranks at once and wait until each has joined.

        Raises ValueError where a rank refuses its settings or its release does not fit, LostRankError
        where one ends, TimeoutError after `learner_start_timeout_s`. Then nothing is left running.
        """
        # A sum fails after learner_timeout_s; then those who waited in it shall say so.
        self._timeout_s = plan.settings.learner_timeout_s + _GRACE_S
        self.sharing = plan.sharing
        self.plan: Plan = plan
        """What ranks are made of that are made anew."""
        self._options, self._run = options, run
        self._actors: list[Any] = []
        try:
            for rank in range(num_ranks):
                self._actors.append(self._actor(rank))
            self._start(range(num_ranks))
        except BaseException:
            self.kill()
            raise

    def make_anew(self, rank: int) -> None:
        """Put another in the place of a rank that sums nothing with the others.

        It has its policies of `plan` as they begin. Raises what making all of them raises.
        """
        ray.kill(self._actors[rank])
        self._actors[rank] = self._actor(rank)
        self._start([rank])

    @property
    def num_ranks(self) -> int:
        """How many there are. Raises ValueError after `kill`."""
        if not self._actors:
            raise ValueError("the learners are closed; make new ones")
        return len(self._actors)

    @property
    def holders(self) -> range:
        """The ranks that together know the whole."""
        return self.sharing.holders(self.num_ranks)

    def call(self, rank: int, name: str, *args: Any) -> Any:  # noqa: ANN401 - a reference of Ray's
        """Ask one rank and return at once with the reference of its answer."""
        return self._actors[rank].call.remote(name, *args)

    def call_with_weights(self, rank: int, name: str, *args: Any) -> tuple[Any, Any]:  # noqa: ANN401
        """Ask one rank and return at once with the references of its answer and of its weights."""
        answer, weights = self._actors[rank].call_with_weights.remote(name, *args)
        return answer, weights

    def report(self, rank: int, timeout_s: float) -> tuple[Any, Any]:
        """Ask one rank what it learned, beside what it is at; return as `call_with_weights`."""
        answer, weights = self._actors[rank].report.remote(timeout_s)
        return answer, weights

    def answers(self, refs: Sequence[Any]) -> list[Answer]:
        """Wait for one answer of each rank.

        Raises a rank's own error, LostRankError, TimeoutError, or LostObjectError where a rank could not
        begin, because what it was handed is gone.
        """
        return settle(dict(enumerate(refs)), self._timeout_s)

    def answer(self, rank: int, ref: Any) -> Answer:  # noqa: ANN401 - a reference of Ray's
        """Wait for a rank's answer. Raises as `answers` does."""
        answer: Answer = settle({rank: ref}, self._timeout_s)[0]
        return answer

    def read(self, ref: Any, rank: int) -> Answer:  # noqa: ANN401 - a reference of Ray's
        """Return a rank's answer that is there. Raises as `answers` does."""
        answer: Answer = read_answer(ref, rank)
        return answer

    def first(self, refs: Sequence[Any], timeout_s: float) -> Any:  # noqa: ANN401
        """Return one of the answers that is there, once one is; None where none comes in time."""
        ready, _ = ray.wait(list(refs), num_returns=1, timeout=timeout_s)
        return ready[0] if ready else None

    def held(self, fragments: Sequence[FragmentReference]) -> list[RayFragment]:
        """Put fragments where ranks can fetch them."""
        return [put_fragment(fragment) for fragment in fragments]

    def settled(
        self, refs: Mapping[int, Any]
    ) -> tuple[dict[int, Answer], list[LostRankError | LostObjectError]]:
        """Wait for answers of some ranks that sum nothing; return them, and who gives none, and why.

        Raises a rank's own error.
        """
        refs = dict(refs)
        _, late = ray.wait(list(refs.values()), num_returns=len(refs), timeout=self._timeout_s)
        answers: dict[int, Answer] = {}
        lost: list[LostRankError | LostObjectError] = []
        for rank, ref in refs.items():
            if ref in late:
                sentence = f"learner {rank} did not answer within {self._timeout_s:.0f} s"
                lost.append(LostRankError(sentence, rank=rank))
                continue
            try:
                answers[rank] = read_answer(ref, rank)
            except (LostRankError, LostObjectError) as error:
                lost.append(error)
        return answers, lost

    def lacking(self, refs: Sequence[Any]) -> list[LostObjectError]:
        """Say which of all ranks could not begin, because what they were handed is gone.

        The others may be waiting for them in a sum. Raises LostRankError.
        """
        ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=_GRACE_S)
        lacking = []
        for rank, ref in enumerate(refs):
            if ref in ready:
                try:
                    read_answer(ref, rank)
                except LostObjectError as error:
                    lacking.append(error)
        return lacking

    def set_state(self, state: StateTree) -> None:
        """Let all ranks go on from a group's state, each with its part."""
        for_all, own = self.sharing.deal_state(state, self.num_ranks)
        common = ray.put(for_all)
        self.answers([self.call(rank, "set_state", common, part) for rank, part in enumerate(own)])

    def get_state(self, method: str, *args: Any) -> StateTree:  # noqa: ANN401 - arguments of the method
        """Return the group's state by a method of the ranks that takes rank 0's digests first."""
        known = self.answers([self.call(rank, method, None, *args) for rank in self.holders])
        others = range(len(known), self.num_ranks)
        parts = self.answers([self.call(rank, method, known[0]["digests"], *args) for rank in others])
        whole = self.sharing.join_states([part["state"] for part in known])
        return join_ranks(whole, [part["state"] for part in parts])

    def joined_weights(self, weights: Sequence[Any], version: int) -> RayWeights:
        """Return the group's weights, where the holders' are under these references.

        Where one went with its node, those are asked for theirs again: who is gone is found out then.
        Raises what `answer` raises, and LostRankError where one is gone again.
        """
        if len(weights) == 1:
            return RayWeights(weights[0], version)
        try:
            return self._join(weights)
        except LostObjectError:
            weights, _ = self._published()
        try:
            return self._join(weights)
        except LostObjectError as error:
            raise LostRankError(f"{error} again", rank=error.rank) from error

    def publish(self) -> RayWeights:
        """Return the group's weights. Raises what `answers` raises."""
        return self.joined_weights(*self._published())

    def still_there(self, fragments: Sequence[FragmentReference], *, rank: int = 0) -> list[RayFragment]:
        """Return those fragments that a rank can fetch; others went with the node that held them.

        Raises LostRankError where the rank that fetches them is gone.
        """
        held = [put_fragment(fragment) for fragment in fragments]
        calls = [self.call(rank, "fetch", fragment.ref) for fragment in held]
        deadline = time.monotonic() + self._timeout_s
        there = []
        for fragment, call in zip(held, calls, strict=True):
            try:
                ray.get(call, timeout=max(0.0, deadline - time.monotonic()))
            except (ObjectLostError, GetTimeoutError):
                _LOGGER.warning("%d rows are lost with the node that held them", fragment.summary.num_rows)
            except _LOST as error:
                raise LostRankError(f"learner {rank} is gone ({type(error).__name__})", rank=rank) from error
            else:
                there.append(fragment)
        return there

    def kill(self) -> None:
        """End all ranks at once; what they do is lost."""
        actors, self._actors = self._actors, []
        if not ray.is_initialized():  # then they have ended already, and a call would start a Ray
            return
        for actor in actors:
            ray.kill(actor)

    def _join(self, weights: Sequence[Any]) -> RayWeights:
        """Have rank 0 put weights together. Raises what `answer` raises."""
        answer, joined = self.call_with_weights(0, "join_weights", *weights)
        return RayWeights(joined, int(self.answer(0, answer)["version"]))

    def _published(self) -> tuple[list[Any], int]:
        """Return references of the holders' weights, and rank 0's version."""
        calls = [self.call_with_weights(rank, "publish") for rank in self.holders]
        answers = self.answers([answer for answer, _ in calls])
        return [weights for _, weights in calls], int(answers[0]["version"])

    def _actor(self, rank: int) -> Any:  # noqa: ANN401 - a handle of Ray's
        remote: Any = ray.remote  # whose overloads know no concurrency groups
        actor = remote(concurrency_groups={REPORTS_GROUP: 1}, max_restarts=0)(RankActor)
        return actor.options(**self._options(rank)).remote()

    def _start(self, ranks: Sequence[int]) -> None:
        """Bring up some ranks, or all where they meet."""
        deadline = time.monotonic() + self.plan.settings.learner_start_timeout_s

        def left_s() -> float:
            return max(0.0, deadline - time.monotonic())

        def ask(name: str, *args: Any) -> list[Answer]:  # noqa: ANN401 - plain values
            return settle({rank: self.call(rank, name, *args) for rank in ranks}, left_s())

        for answer in ask("greet", encode_hello(introduction("a training loop on Ray"))):
            refusal = decode_welcome(answer["welcome"]).refusal
            if refusal is not None:
                raise ValueError(f"a learner refused: {refusal.sentence}")
        join, place = "join", {"host": "", "port": 0}
        if isinstance(self.plan, MultiAgentPlan):
            join = "join_policies" if self.plan.shares_rows else "join_apart"
        if join != "join_apart":
            (place,) = settle({0: self.call(0, "meet", left_s())}, left_s())
        message = self.plan.to_message(cloudpickle.dumps)
        where = (len(self._actors), place["host"], place["port"])
        settle({rank: self.call(rank, join, message, rank, *where, self._run) for rank in ranks}, left_s())


def settle(refs: Mapping[int, Any], timeout_s: float) -> list[Any]:
    """Wait for an answer of each rank; what went wrong anywhere is raised as soon as it is known."""
    deadline = time.monotonic() + timeout_s
    waiting = {ref: rank for rank, ref in refs.items()}
    answers: dict[int, Any] = dict.fromkeys(refs)
    while waiting:
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(
                f"learner {min(waiting.values())} did not answer within {timeout_s:.0f} s; raise "
                "learner_timeout_s (learner_start_timeout_s while they start), or see to its process"
            )
        rank = waiting.pop(ready[0])
        try:
            answers[rank] = read_answer(ready[0], rank)
        except LostRankError as error:
            raise_cause(error, waiting)
    return list(answers.values())


def raise_cause(error: LostRankError, waiting: Mapping[Any, int]) -> NoReturn:
    """Raise why a rank answered that another one was lost to it: what that one says, or that it is gone.

    `waiting` are answers that have not come, by their ranks. Where none of them says more within some
    seconds, `error` is all that is known.
    """
    deadline = time.monotonic() + _GRACE_S
    left = dict(waiting)
    while left and not isinstance(error.__cause__, RayError):
        ready, _ = ray.wait(list(left), num_returns=1, timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        try:
            read_answer(ready[0], left.pop(ready[0]))
        except LostObjectError:
            continue  # which went with a rank, and is looked for when there are others
        except LostRankError as other:
            error = other if isinstance(other.__cause__, RayError) else error
    raise error


def read_answer(ref: Any, rank: int) -> Any:  # noqa: ANN401 - a reference of Ray's, and what it holds
    """Return an answer that is there.

    Raises the rank's own error, LostRankError for one that is gone, and LostObjectError for what it was
    handed.
    """
    try:
        answer = ray.get(ref)
    except _NEVER as error:
        raise ValueError(f"learner {rank} cannot be started: {error}") from error
    except _LOST as error:
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise RuntimeError(
                f"learner {rank}'s process could not load its part; install outrider-learner[ray] where it "
                f"runs, or correct the learners' runtime environment: {error}"
            ) from error
        if isinstance(error, RayTaskError):  # of a call that was never made
            raise LostObjectError(
                f"what learner {rank} was handed is gone with the node that held it", rank=rank
            ) from error
        raise LostRankError(f"learner {rank} is gone ({type(error).__name__})", rank=rank) from error
    if isinstance(answer, dict) and "error" in answer:
        raise read_error(answer, f"learner {rank}")
    return answer
