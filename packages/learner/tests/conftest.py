"""Makes small policies and fragments, ranks and services in memory for the learner's tests."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner.service.learner_service import LearnerService
from outrider.learner.service.served_groups import OneLearner
from outrider.learner.service.service_async_learners import ServiceAsyncLearnerGroup
from outrider.learner.service.service_learners import ServiceLearnerGroup
from outrider.learner.service.service_plan import Plan
from outrider.rlmodule import ModuleSettings, Policy, build_policy
from outrider.testing.connections import ConnectionPair
from outrider.transport.connection import Connection, Receiver
from outrider.transport.security import ClientSecurity
from outrider.wire import BoxSpace, DiscreteSpace, EpisodeStatistics, Fragment, Space, Streams

BOX = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Lab:
    """Policies for three observation numbers and fragments that they could have acted in."""

    def policy(self, *, seed: int = 0, action_space: Space | None = None, **settings: object) -> Policy:
        """Make a small policy; `settings` are those of ModuleSettings."""
        small: dict[str, object] = {"fcnet_hiddens": (16,)}
        if settings.get("use_lstm"):
            small["lstm_cell_size"] = 8
        module = ModuleSettings(**(small | settings))  # type: ignore[arg-type]
        return build_policy(BOX, action_space or DiscreteSpace(num_values=2), module, seed=seed)

    def fragment(
        self,
        policy: Policy,
        lengths: Sequence[int],
        *,
        seed: int = 0,
        first_environment: int = 0,
        end_probability: float = 0.1,
    ) -> Fragment:
        """Make streams of these lengths with random ends, acted in by `policy`."""
        rng = np.random.default_rng(seed)
        num_rows = sum(lengths)
        last = np.cumsum(lengths) - 1
        ended = rng.random(num_rows) < end_probability
        terminated = ended & (rng.random(num_rows) < 0.5)
        truncated = ended & ~terminated
        has_next = truncated.copy()
        has_next[last] |= ~terminated[last]
        next_rows = np.flatnonzero(has_next)
        observations = rng.normal(size=(num_rows, 3)).astype(np.float32)
        state = {
            name: rng.normal(size=(len(lengths), *spec.shape)).astype(np.float32) * 0.1
            for name, spec in policy.state_spec.items()
        }
        at = np.repeat(np.arange(len(lengths)), lengths), np.concatenate([np.arange(n) for n in lengths])
        observations_ST = torch.zeros(len(lengths), max(lengths), 3)
        observations_ST[at] = torch.from_numpy(observations)
        starts_ST = torch.zeros(len(lengths), max(lengths) + 1, dtype=torch.bool)
        starts_ST[at[0], at[1] + 1] = torch.from_numpy(ended)
        before = {name: torch.from_numpy(rows) for name, rows in state.items()}
        with torch.no_grad():
            parameters = policy.forward_sequence({"": observations_ST}, before, starts_ST[:, :-1])[0][at]
        head = policy.action_heads[0]
        if head.kind == "categorical":
            actions = rng.integers(0, head.sizes[0], num_rows)
        else:
            actions = rng.normal(size=(num_rows, len(head.sizes))).astype(np.float32)
        log_probs = policy.distribution.log_prob(parameters, {head.path: torch.from_numpy(actions)})
        return Fragment(
            streams=Streams(
                lengths=np.array(lengths),
                policy=np.zeros(len(lengths), np.int32),
                environment=np.arange(first_environment, first_environment + len(lengths), dtype=np.int32),
                agent=np.zeros(len(lengths), np.int32),
                state=state,
            ),
            observations={"": observations},
            actions={"": actions},
            rewards=rng.normal(size=num_rows).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            next_rows=next_rows,
            next_observations={"": rng.normal(size=(len(next_rows), 3)).astype(np.float32)},
            action_log_probs=log_probs.numpy(),
            policy_version=np.zeros(1, np.int64),
            episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
        )


@pytest.fixture
def lab() -> Lab:
    return Lab()


class ThreadRank:
    """One of several ranks that are threads of this process."""

    def __init__(self, rank: int, size: int, board: list[torch.Tensor], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, size
        self._board, self._barrier = board, barrier

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        self._board[self.rank] = tensor.clone()
        self._barrier.wait(10)
        total = torch.stack(list(self._board)).sum(0)
        self._barrier.wait(10)
        return total

    def start_sum(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        total = self.sum(tensor)
        return lambda: total


def run_on_ranks(size: int, work: Callable[[ThreadRank], Any]) -> list[Any]:
    """Run `work` on each rank at once and return what each returned."""
    barrier, board, results = threading.Barrier(size), [torch.empty(0)] * size, [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadRank(rank, size, board, barrier))
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def on_ranks() -> Callable[[int, Callable[[ThreadRank], Any]], list[Any]]:
    return run_on_ranks


class ServiceInMemory:
    """Connects groups to the learner service that is there, without a network."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.pairs: list[ConnectionPair] = []
        self.service: LearnerService
        self.start()

    def start(self, groups: Any = None) -> None:
        """Put a service in the place of the one before."""
        self.service = LearnerService(groups or OneLearner())
        self._thread = threading.Thread(target=self.service.serve)
        self._thread.start()

    def stop(self) -> None:
        self.service.stop("the service was told to stop")
        self._thread.join(20.0)
        assert not self._thread.is_alive()

    def dial(self, receiver: Receiver, timeout_s: float) -> Connection:
        self.pairs.append(self._stack.enter_context(ConnectionPair(self.service, receiver)))
        return self.pairs[-1].b

    def group(self, made: Plan, *, needs: frozenset[str] = frozenset()) -> ServiceLearnerGroup:
        return ServiceLearnerGroup(
            made, address="memory:0", security=ClientSecurity(), needs=needs, dial=self.dial
        )

    def async_group(self, made: Plan) -> ServiceAsyncLearnerGroup:
        return ServiceAsyncLearnerGroup(made, address="memory:0", security=ClientSecurity(), dial=self.dial)

    def close(self) -> None:
        self.stop()
        self._stack.close()


@pytest.fixture
def network() -> Iterator[ServiceInMemory]:
    network = ServiceInMemory()
    yield network
    network.close()
