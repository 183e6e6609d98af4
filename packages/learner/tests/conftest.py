"""Makes small policies and fragments, ranks and services in memory for the learner's tests."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import (
    APPOSettings,
    IMPALASettings,
    LearnerGroupSettings,
    LearnerPlan,
    MultiAgentPlan,
    PPOSettings,
    StackPlan,
)
from outrider.learner.plans.multi_agent_plan import Intake
from outrider.learner.service.learner_service import LearnerService
from outrider.learner.service.served_groups import OneLearner
from outrider.learner.service.service_async_learners import ServiceAsyncLearnerGroup
from outrider.learner.service.service_learners import ServiceLearnerGroup
from outrider.learner.service.service_plan import Plan, stack_message
from outrider.rlmodule import ModuleSettings, Policy, PolicyRecipe, build_policy
from outrider.testing.connections import ConnectionPair
from outrider.transport import LocalFragment
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


SERVED = LearnerGroupSettings(
    num_updates_between_snapshots=2, learner_timeout_s=20.0, learner_start_timeout_s=20.0
)


class OnePolicy:
    """Plans of the only policy of a run, and two fragments of its own at a time."""

    training: Mapping[str, Any] = {
        "ppo": PPOSettings(minibatch_size=32, num_epochs=2, lr=1e-3),
        "impala": IMPALASettings(train_batch_size_per_learner=60, learner_queue_size=2),
        "appo": APPOSettings(train_batch_size_per_learner=60, learner_queue_size=2),
    }

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._policy = self.plan().policy.build()

    def plan(self, algorithm: str = "ppo", **changes: Any) -> LearnerPlan:
        recipe = PolicyRecipe(
            observation_space=BOX,
            action_space=DiscreteSpace(num_values=2),
            settings=ModuleSettings(fcnet_hiddens=(16,), normalize_observations=True, normalize_rewards=True),
            seed=3,
        )
        parts: dict[str, Any] = {"training": self.training[algorithm], "policy": recipe, "settings": SERVED}
        return LearnerPlan(algorithm=algorithm, seed=5, **(parts | changes))

    def put_in(self, seed: int) -> list[LocalFragment]:
        return [
            LocalFragment(self._lab.fragment(self._policy, [30, 21], seed=seed)),
            LocalFragment(self._lab.fragment(self._policy, [40], seed=seed + 1, first_environment=2)),
        ]


@pytest.fixture
def one(lab: Lab) -> OnePolicy:
    return OnePolicy(lab)


class SeveralPolicies:
    """Plans of two policies in a stack, 0 and 2, and a recurrent one of its own, 1; fragments of theirs."""

    training: Mapping[str, Any] = {
        "ppo": PPOSettings(minibatch_size=32, num_epochs=2, lr=1e-3),
        "impala": IMPALASettings(train_batch_size_per_learner=40),
        "appo": APPOSettings(train_batch_size_per_learner=40),
    }

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def stack(self, name: str, *numbers: int, algorithm: str = "ppo", **changes: Any) -> StackPlan:
        recipe = PolicyRecipe(
            observation_space=BOX,
            action_space=DiscreteSpace(num_values=2),
            settings=ModuleSettings(fcnet_hiddens=(8,), normalize_observations=True, normalize_rewards=True),
            seed=0,
        )
        seeds = {number: 10 + number for number in numbers}
        parts: dict[str, Any] = {"policy": recipe, "training": self.training[algorithm], "seeds": seeds}
        return StackPlan(name=name, **(parts | changes))

    def recurrent(self, number: int, algorithm: str = "ppo") -> StackPlan:
        plain = self.stack(f"policy{number}", number, algorithm=algorithm, is_stacked=False)
        settings = ModuleSettings(fcnet_hiddens=(8,), use_lstm=True, lstm_cell_size=4)
        return replace(plain, policy=replace(plain.policy, settings=settings))

    def message(self, name: str, *numbers: int, **changes: Any) -> dict[str, Any]:
        """Return what a stack crosses as."""
        return stack_message(self.stack(name, *numbers, **changes))

    def plan(self, algorithm: str = "ppo", **changes: Any) -> MultiAgentPlan:
        many = self.stack("many", 0, 2, algorithm=algorithm, overrides={2: {"lr": 0.01}})
        parts: dict[str, Any] = {"stacks": (many, self.recurrent(1, algorithm)), "settings": SERVED}
        return MultiAgentPlan(algorithm=algorithm, **({"seed": 5} | parts | changes))

    def plan_without_pause(self, algorithm: str, train_batch_size: int = 40) -> MultiAgentPlan:
        """Let learners train by themselves."""
        intake = Intake(
            train_batch_size=train_batch_size,
            num_env_steps_per_fragment=40,
            max_staleness=20,
            queue_capacity=2,
        )
        return self.plan(algorithm, intake=intake)

    def put_in(self, seed: int, numbers: Sequence[int] = (0, 2)) -> list[LocalFragment]:
        many, alone = self.plan().stacks
        acted = self._acted([20, 11], numbers, seed, many.policy)
        return [LocalFragment(replace(acted, others=(self._acted([9], [1], seed + 50, alone.policy),)))]

    def _acted(self, lengths: list[int], numbers: Sequence[int], seed: int, recipe: PolicyRecipe) -> Fragment:
        fragment = self._lab.fragment(recipe.build(), lengths, seed=seed)
        return replace(fragment, streams=replace(fragment.streams, policy=np.array(numbers, np.int32)))


@pytest.fixture
def several(lab: Lab) -> SeveralPolicies:
    return SeveralPolicies(lab)
