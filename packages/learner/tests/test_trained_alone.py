"""A policy that trains while all others rest has a learner of its own, and learns what a stack would."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import make_stacked_learner, settings_class
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import StackPlan
from outrider.learner.stacks.stack_learner import StackLearner
from outrider.learner.training import appo, impala, ppo
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace

CPU = torch.device("cpu")
SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {"num_epochs": 2, "use_kl_loss": True},
    "impala": {"num_epochs": 2, "normalize_advantages": True},
    "appo": {
        "num_epochs": 2,
        "use_kl_loss": True,
        "circular_buffer_num_batches": 2,
        "circular_buffer_iterations_per_batch": 2,
        "target_network_update_freq": 3,
    },
}
ALONE = {"ppo": ppo.PPOLearner, "impala": impala.IMPALALearner, "appo": appo.APPOLearner}
MODULE: dict[str, Any] = {"normalize_observations": True, "normalize_rewards": True}


def plan(algorithm: str, numbers: Sequence[int], **changes: Any) -> StackPlan:
    """Minibatches are smaller than what a policy plays, so that orders count."""
    training = settings_class(algorithm)(minibatch_size=8, lr=1e-2, **(SETTINGS[algorithm] | changes))
    return StackPlan(
        name="s",
        policy=PolicyRecipe(
            observation_space=SPACE,
            action_space=DiscreteSpace(num_values=2),
            settings=ModuleSettings(fcnet_hiddens=(8,), **MODULE),
            seed=0,
        ),
        training=training,
        seeds={number: 10 + number for number in numbers},
        overrides={1: {"lr": [[0, 3e-2], [50, 1e-3]], "gamma": 0.9}},
    )


def learner(algorithm: str, numbers: Sequence[int] = (1,), **changes: Any) -> StackLearner:
    return plan(algorithm, numbers, **changes).make_learner(algorithm, seed=3, device=CPU)


def stacked(algorithm: str, numbers: Sequence[int] = (1,), **changes: Any) -> StackLearner:
    """Make a learner that never trains a policy alone."""
    made = plan(algorithm, numbers, **changes)
    return make_stacked_learner(
        PolicyStack(made.policy, [made.seeds[number] for number in numbers]),
        made.training,
        numbers=numbers,
        overrides=made.overrides,
        name="s",
        seed=3,
    )


def learn(trained: StackLearner, lab: Any, numbers: Sequence[int], seeds: Sequence[int]) -> None:
    """Let each of these act in streams that do not depend on who else acts, and train.

    Now and then all fit into one minibatch.
    """
    for seed in seeds:
        lengths = (9, 4, 3, 8, 1) if seed % 3 else (4, 3)
        fragments = []
        for number in numbers:
            fragment = lab.fragment(lab.policy(), lengths, seed=100 * seed + number)
            policy = np.full(len(lengths), number, np.int32)
            fragments.append(replace(fragment, streams=replace(fragment.streams, policy=policy)))
        trained.update(fragments)


def assert_alike(ours: StateTree, theirs: StateTree, *, tolerance: float = 1e-5, path: str = "") -> None:
    """Compare all that a policy goes on from, but for how changes are counted."""
    assert ours.keys() == theirs.keys(), path
    for name in ours.keys() - {"version"}:
        if isinstance(ours[name], dict):
            assert_alike(ours[name], theirs[name], tolerance=tolerance, path=f"{path}/{name}")
        elif np.asarray(ours[name]).dtype.kind == "f":
            np.testing.assert_allclose(
                ours[name], theirs[name], rtol=0, atol=tolerance, err_msg=f"{path}/{name}"
            )
        else:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=f"{path}/{name}")


@pytest.fixture
def num_alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the updates of learners of one policy."""
    calls: list[str] = []
    for name, kind in ALONE.items():

        def update_rows(self: Any, rows: Any, *, name: str = name, do: Any = kind.update_rows) -> Any:
            calls.append(name)
            return do(self, rows)

        monkeypatch.setattr(kind, "update_rows", update_rows)
    return calls


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_policy_learns_the_same_alone_and_beside_others_that_come_and_rest(
    lab: Any, algorithm: str, num_alone: list[str]
) -> None:
    ours, theirs = learner(algorithm), stacked(algorithm)
    versions = []

    def both(numbers: Sequence[int], seeds: Sequence[int], expected: int) -> None:
        num_alone.clear()
        for trained in (ours, theirs):
            learn(trained, lab, numbers, seeds)
        assert num_alone == [algorithm] * expected
        assert ours.get_state()["num_updates"] == theirs.get_state()["num_updates"]
        for number in ours.numbers.tolist():
            assert_alike(ours.policy_state(number), theirs.policy_state(number))
        metrics, others = ours.policy_metrics(), theirs.policy_metrics()
        assert metrics.keys() == others.keys()
        for name, column in metrics.items():
            np.testing.assert_allclose(column, others[name], rtol=1e-4, atol=1e-4, err_msg=name)
        versions.append(int(ours.publish().stacks[0].versions[0]))

    both([1], range(2), expected=2)
    for trained in (ours, theirs):
        trained.add(5, like=1, seed=0)
    both([1, 5], range(2, 4), expected=0)
    for trained in (ours, theirs):
        trained.freeze([5])
    both([1], range(4, 6), expected=2)
    for trained in (ours, theirs):
        trained.thaw([5])
        trained.freeze([1])
    both([5], range(6, 8), expected=2)
    for trained in (ours, theirs):
        trained.thaw([1])
    both([1, 5], range(8, 10), expected=0)
    assert versions[0] < versions[1] < versions[2] == versions[3] < versions[4]


@pytest.mark.parametrize("algorithm", SETTINGS)
@pytest.mark.parametrize("moment", [1, 3, 5])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(lab: Any, algorithm: str, moment: int) -> None:
    forgetful = {"circular_buffer_num_batches": 1, "circular_buffer_iterations_per_batch": 1}
    changes = forgetful if algorithm == "appo" else {}
    ours = learner(algorithm, (1, 5), **changes)
    ours.freeze([5])
    other = None
    for update in range(7):
        if update == 2:
            for trained in [ours] if other is None else [ours, other]:
                trained.thaw([5])
        if update == 4:
            for trained in [ours] if other is None else [ours, other]:
                trained.freeze([5])
        for trained in [ours] if other is None else [ours, other]:
            learn(trained, lab, [1, 5] if update in (2, 3) else [1], [update])
        if update == moment:
            other = learner(algorithm, (1, 5), **changes)
            other.freeze([5])
            learn(other, lab, [1], [99])
            other.set_state(ours.get_state())
    assert other is not None
    assert_alike(ours.get_state(), other.get_state(), tolerance=0.0)
    assert ours.get_state()["version"] == other.get_state()["version"]


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_states_of_either_kind_go_on_in_the_other(lab: Any, algorithm: str) -> None:
    changes = {"circular_buffer_num_batches": 1, "circular_buffer_iterations_per_batch": 1}
    changes = changes if algorithm == "appo" else {}
    ours, theirs = learner(algorithm, **changes), stacked(algorithm, **changes)
    for trained in (ours, theirs):
        learn(trained, lab, [1], range(2))
    of_ours, of_theirs = ours.get_state(), theirs.get_state()
    ours.set_state(of_theirs)
    theirs.set_state(of_ours)
    for trained in (ours, theirs):
        learn(trained, lab, [1], range(2, 4))
    assert_alike(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_policy_that_is_overwritten_goes_on_from_there(lab: Any, algorithm: str) -> None:
    ours, theirs = learner(algorithm), stacked(algorithm)
    first = ours.policy_state(1)
    for trained in (ours, theirs):
        learn(trained, lab, [1], range(2))
        trained.set_policy_state(1, first)
        learn(trained, lab, [1], range(2, 4))
    assert_alike(ours.policy_state(1), theirs.policy_state(1))


def test_policies_that_rest_are_neither_changed_nor_published_anew(lab: Any, num_alone: list[str]) -> None:
    ours = learner("ppo", range(16))
    ours.freeze([number for number in range(16) if number != 1])
    before = [ours.policy_state(number) for number in range(16)]
    learn(ours, lab, [1], [0])
    assert num_alone == ["ppo"]
    assert np.flatnonzero(ours.publish().stacks[0].versions).tolist() == [1]
    assert np.flatnonzero(~np.isnan(ours.policy_metrics()["policy_loss"])).tolist() == [1]
    for number in set(range(16)) - {1}:
        assert_alike(ours.policy_state(number), before[number], tolerance=0.0)


def test_rows_of_a_policy_that_was_frozen_after_loading_are_left_out(lab: Any, num_alone: list[str]) -> None:
    ours, theirs = learner("ppo", (1, 5)), learner("ppo", (1, 5))
    for trained in (ours, theirs):
        trained.freeze([5])
    learn(ours, lab, [1, 5], [0])
    assert num_alone == []
    learn(theirs, lab, [1], [0])
    assert_alike(ours.policy_state(1), theirs.policy_state(1))


def test_a_stack_trains_where_another_could_train_that_has_no_rows(lab: Any, num_alone: list[str]) -> None:
    learn(learner("ppo", (1, 5)), lab, [1], [0])
    assert num_alone == []


def test_a_policy_that_comes_again_under_its_number_begins_anew(lab: Any) -> None:
    ours, theirs = learner("ppo", (1, 5)), stacked("ppo", (1, 5))
    for trained in (ours, theirs):
        trained.freeze([5])
        learn(trained, lab, [1], [0])
        trained.remove(1)
        trained.add(1, like=None, seed=2)
        learn(trained, lab, [1], [1])
    assert_alike(ours.policy_state(1), theirs.policy_state(1))
