"""Ranks under torchrun train several policies as one learner does; ranks are threads, the link two queues."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from queue import Queue
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import LearnerGroupSettings, LocalLearnerGroup, OneRank, settings_class
from outrider.learner.groups.learned_policies import LearnedPolicies, PoliciesHere
from outrider.learner.plans.multi_agent_plan import Intake, MultiAgentPlan, StackPlan
from outrider.learner.service.torchrun_groups import TorchrunGroups
from outrider.learner.service.torchrun_rank import TorchrunRank
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import LocalFragment
from outrider.wire import BoxSpace, DiscreteSpace, Fragment, decode_tree, encode_tree

CPU = torch.device("cpu")
SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
TRAINING: dict[str, dict[str, Any]] = {"ppo": {"minibatch_size": 1000, "num_epochs": 2}, "impala": {}}


KEPT_BY_EACH = {"generator", "num_updates", "reward_scale", "version"}
"""What a rank draws, counts, and remembers of the streams that it had."""


class QueueLink:
    """A `Link` between threads."""

    num_ranks = 2

    def __init__(self, ranks: Any, queues: Sequence[Queue[bytes]]) -> None:
        self.rank, self._ranks, self._queues = ranks.rank, ranks, queues
        self.exchange = threading.RLock()

    def send(self, rank: int, value: Any) -> None:
        self._queues[rank].put(encode_tree(value).to_bytes())

    def receive(self, rank: int) -> Any:
        return decode_tree(memoryview(self._queues[self.rank].get(timeout=20)))

    def call(self, name: str, **arguments: Any) -> None:
        self.send(1, {"call": name, **arguments})

    def join_sums(self, settings: LearnerGroupSettings) -> tuple[Any, torch.device]:
        return self._ranks, CPU

    def choose_device(self, settings: LearnerGroupSettings) -> torch.device:
        return CPU

    def leave_sums(self) -> None:
        pass


@contextmanager
def two_ranks(on_ranks: Any) -> Iterator[TorchrunGroups]:
    """Yield what rank 0 makes groups with; another thread is rank 1."""
    queues: list[Queue[bytes]] = [Queue(), Queue()]
    ready: Queue[TorchrunGroups] = Queue()
    over = threading.Event()

    def work(ranks: Any) -> None:
        link: Any = QueueLink(ranks, queues)
        if ranks.rank:
            TorchrunRank(link, network_modules=()).serve()
        else:
            ready.put(TorchrunGroups(link, network_modules=()))
            over.wait(60)

    thread = threading.Thread(target=on_ranks, args=(2, work))
    thread.start()
    groups = ready.get(timeout=20)
    try:
        yield groups
    finally:
        groups.close()
        over.set()
        thread.join(20)
    assert not thread.is_alive()


def stack(name: str, *numbers: int, algorithm: str, is_stacked: bool = True) -> StackPlan:
    settings = ModuleSettings(fcnet_hiddens=(8,), normalize_observations=True, normalize_rewards=True)
    recipe = PolicyRecipe(
        observation_space=SPACE, action_space=DiscreteSpace(num_values=2), settings=settings, seed=0
    )
    training = settings_class(algorithm)(lr=1e-3, **TRAINING[algorithm])
    seeds = {number: 10 + number for number in numbers}
    return StackPlan(name=name, policy=recipe, training=training, seeds=seeds, is_stacked=is_stacked)


def plan(*numbers: int, algorithm: str = "ppo") -> MultiAgentPlan:
    return MultiAgentPlan(
        algorithm=algorithm,
        stacks=(stack("many", *numbers, algorithm=algorithm),),
        settings=LearnerGroupSettings(),
        seed=3,
        intake=Intake(train_batch_size=5, num_env_steps_per_fragment=10, max_staleness=100, queue_capacity=4),
    )


def played(lab: Any, seed: int, numbers: Sequence[int]) -> LocalFragment:
    lengths = [4 + 3 * (place % 4) for place in range(2 * len(numbers))]
    fragment: Fragment = lab.fragment(lab.policy(), lengths, seed=seed)
    of = np.repeat(np.array(numbers, np.int32), 2)
    return LocalFragment(replace(fragment, streams=replace(fragment.streams, policy=of)))


def here(made: MultiAgentPlan) -> tuple[LocalLearnerGroup, LearnedPolicies]:
    learner = made.make_learner(OneRank(), CPU)
    group = LocalLearnerGroup(learner)
    return group, PoliciesHere(learner, group, algorithm=made.algorithm, seed=made.seed, device=CPU)


def assert_close(ours: Any, theirs: Any, path: str = "") -> None:
    if isinstance(theirs, dict):
        for name in theirs.keys() - KEPT_BY_EACH:
            assert_close(ours[name], theirs[name], f"{path}/{name}")
    elif isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5, err_msg=path)
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=path)


def assert_alike(ours: Any, theirs: Any) -> None:
    weights, expected = ours.publish().load(), theirs.publish().load()
    assert weights.version == expected.version
    assert [each.policies.tolist() for each in weights.stacks] == [
        each.policies.tolist() for each in expected.stacks
    ]
    assert_close(dict(weights.tensors), dict(expected.tensors))
    assert_close(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize("algorithm", TRAINING)
@pytest.mark.parametrize("numbers", [(0, 1, 2), (0,)])
def test_two_ranks_learn_what_one_learner_does_and_each_goes_on_from_the_other(
    lab: Any, on_ranks: Any, algorithm: str, numbers: tuple[int, ...]
) -> None:
    made = plan(*numbers, algorithm=algorithm)
    alone, _ = here(made)
    with two_ranks(on_ranks) as groups:
        group, _ = groups.make_policies(made)
        for seed in range(2):
            metrics, expected = (each.update([played(lab, seed, numbers)]) for each in (group, alone))
            assert metrics["num_env_steps_trained"] == expected["num_env_steps_trained"]
            assert metrics["policy_loss"] == pytest.approx(expected["policy_loss"], abs=1e-5)
        assert_alike(group, alone)
        state = group.get_state()
        alone.update([played(lab, 2, numbers)])
        again, _ = groups.make_policies(made)
        again.set_state(state)
        again.update([played(lab, 2, numbers)])
        assert_close(dict(again.publish().load().tensors), dict(alone.publish().load().tensors))


def change(policies: LearnedPolicies) -> None:
    policies.add(stack("many", 3, algorithm="ppo"), like=0)  # which the other rank has
    policies.add(stack("sole", 4, algorithm="ppo", is_stacked=False), like=None)
    policies.remove(1)
    policies.freeze([0, 2])
    policies.thaw([2])


def test_policies_come_go_and_rest_as_in_one_learner(lab: Any, on_ranks: Any) -> None:
    made = plan(0, 1, 2)
    alone, policies_here = here(made)
    with two_ranks(on_ranks) as groups:
        group, policies = groups.make_policies(made)
        for each, changed in ((group, policies), (alone, policies_here)):
            each.update([played(lab, 0, (0, 1, 2))])
            change(changed)
            each.update([played(lab, 1, (0, 2, 3, 4))])
        assert_alike(group, alone)
        assert policies.frozen == {0}
        assert_close(policies.policy_metrics(), policies_here.policy_metrics())
        assert_close(policies.policy_state(3), policies_here.policy_state(3))


@pytest.mark.parametrize("kind", ["waited for", "by themselves"])
def test_what_cannot_be_done_is_said_and_ranks_go_on(lab: Any, on_ranks: Any, kind: str) -> None:
    with two_ranks(on_ranks) as groups:
        make: Callable[..., Any] = (
            groups.make_policies if kind == "waited for" else groups.make_async_policies
        )
        made = plan(0, 1, algorithm="ppo" if kind == "waited for" else "impala")
        group, policies = make(made)
        with pytest.raises(ValueError, match="3"):
            policies.freeze([3])
        policies.freeze([1])
        assert policies.frozen == {1}
        group.close()


def test_ranks_train_without_pause_on_as_many_times_the_rows(lab: Any, on_ranks: Any) -> None:
    made = plan(0, 1, 2, algorithm="impala")
    alone, _ = here(made)
    with two_ranks(on_ranks) as groups:
        group, _ = groups.make_async_policies(made)
        for seed in range(3):
            group.put([played(lab, seed, (0, 1, 2))])
            (report,) = group.reports(20)
            assert report.num_updates == 1
            alone.update([played(lab, seed, (0, 1, 2))])
        assert_alike(group, alone)
        group.close()


def test_a_rank_that_cannot_make_its_learner_is_named_and_the_next_run_is_trained(
    lab: Any, on_ranks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: QueueLink, settings: LearnerGroupSettings) -> torch.device:
        if self.rank:
            raise ValueError("there is no GPU here")
        return CPU

    with two_ranks(on_ranks) as groups:
        with monkeypatch.context() as patched:
            patched.setattr(QueueLink, "choose_device", refuse)
            with pytest.raises(ValueError, match="learner 1: there is no GPU here"):
                groups.make_policies(plan(0, 1))
        group, _ = groups.make_policies(plan(0, 1))
        group.update([played(lab, 0, (0, 1))])
        assert group.publish().version == 1
