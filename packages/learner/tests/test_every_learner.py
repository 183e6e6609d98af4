"""What `Learner` promises, kept by every algorithm."""

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import make_learner, settings_class
from outrider.learner.training.algorithm_settings import ALGORITHMS
from outrider.wire import BoxSpace

NORMALISED = {"normalize_observations": True, "normalize_rewards": True}
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)
with_and_without_memory = pytest.mark.parametrize("use_lstm", [False, True])


def make(name: str, policy: Any, **settings: Any) -> Any:
    chosen = {"minibatch_size": 32, "lr": 3e-3} | ({"num_epochs": 4} if name == "ppo" else {}) | settings
    return make_learner(name, policy, settings_class(name)(**chosen), seed=1)


def fragments(lab: Any, policy: Any, seed: int) -> list[Any]:
    return [
        lab.fragment(policy, [30, 21], seed=seed),
        lab.fragment(policy, [40], seed=seed + 1, first_environment=2),
    ]


def without_seconds(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.endswith("_s")}


def paid_for_action_one(fragment: Any) -> Any:
    """Pay 1 for action 1, in episodes of one step."""
    everywhere = np.ones(fragment.num_rows, bool)
    return replace(
        fragment,
        rewards=(fragment.actions[""] == 1).astype(np.float32),
        terminated=everywhere,
        truncated=~everywhere,
        next_rows=fragment.next_rows[:0],
        next_observations={"": fragment.next_observations[""][:0]},
    )


@every_algorithm
@with_and_without_memory
def test_a_rewarded_action_becomes_likelier(lab: Any, name: str, use_lstm: bool) -> None:
    policy = lab.policy(use_lstm=use_lstm)
    learner = make(name, policy, lr=0.03)
    for seed in range(10):
        learner.update([paid_for_action_one(lab.fragment(policy, [16] * 8, seed=seed))])
    state = {name: torch.zeros(1, *spec.shape) for name, spec in policy.state_spec.items()}
    logits, value, _ = policy.step({"": torch.zeros(1, 3)}, state)
    assert logits.softmax(-1)[0, 1] > 0.9
    assert 0.3 < value.item() < 1.1


@every_algorithm
def test_a_gaussian_policy_moves_towards_rewarded_actions(lab: Any, name: str) -> None:
    bounds = np.ones(1, np.float32)
    policy = lab.policy(action_space=BoxSpace(low=-bounds, high=bounds))
    learner = make(name, policy, lr=0.03)
    for seed in range(10):
        fragment = lab.fragment(policy, [16] * 8, seed=seed)
        paid = -np.abs(fragment.actions[""][:, 0] - 0.5).astype(np.float32)
        learner.update([replace(paid_for_action_one(fragment), rewards=paid)])
    assert policy({"": torch.zeros(1, 3)})[0][0, 0] > 0.15


@every_algorithm
def test_metrics_are_finite_floats_with_documented_names(lab: Any, name: str) -> None:
    from outrider.learner import metrics as documented

    policy = lab.policy()
    metrics = make(name, policy).update([lab.fragment(policy, [40, 24])])
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    lines = (documented.__doc__ or "").splitlines()
    assert metrics.keys() <= {line.split()[0] for line in lines if "   " in line}
    assert metrics["num_env_steps_trained"] == 64.0


@every_algorithm
@with_and_without_memory
def test_loading_apart_from_training_changes_nothing(lab: Any, name: str, use_lstm: bool) -> None:
    learners = [make(name, lab.policy(use_lstm=use_lstm, **NORMALISED)) for _ in range(2)]
    for seed in range(3):
        given = fragments(lab, lab.policy(use_lstm=use_lstm), seed)
        at_once = learners[0].update(given)
        rows = learners[1].load(given)
        assert without_seconds(learners[1].update_rows(rows)) == without_seconds(at_once)


@every_algorithm
@with_and_without_memory
def test_a_resumed_learner_gives_the_same_bits_as_one_that_never_stopped(
    lab: Any, name: str, use_lstm: bool
) -> None:
    options = {"use_lstm": use_lstm, **NORMALISED}
    alone = {} if name == "ppo" else {"lr": [[0, 3e-3], [1000, 1e-4]]}
    if name == "appo":  # what lies in its buffer is not saved
        alone |= {"circular_buffer_num_batches": 1, "use_kl_loss": True, "tau": 0.5}
    learner = make(name, lab.policy(**options), **alone)
    for seed in range(3):
        learner.update(fragments(lab, learner.policy, seed))
    resumed = make(name, lab.policy(seed=9, **options), **alone)
    resumed.set_state(copy.deepcopy(learner.get_state()))
    for seed in range(3, 6):
        given = fragments(lab, learner.policy, seed)
        both = [without_seconds(one.update(given)) for one in (learner, resumed)]
        assert both[0] == both[1]
    for path, tensor in learner.publish().tensors.items():
        np.testing.assert_array_equal(tensor, resumed.publish().tensors[path])


@every_algorithm
def test_a_state_holds_nothing_but_plain_values_and_arrays(lab: Any, name: str) -> None:
    learner = make(name, lab.policy(**NORMALISED))
    learner.update(fragments(lab, learner.policy, 0))

    def plain(tree: Any) -> bool:
        if isinstance(tree, dict):
            return all(type(key) is str and plain(value) for key, value in tree.items())
        return type(tree) in {str, int, float, bool, np.ndarray}

    assert plain(learner.get_state())


@every_algorithm
def test_versions_count_updates_and_may_be_set_ahead(lab: Any, name: str) -> None:
    learner = make(name, lab.policy())
    assert learner.publish().version == 0
    learner.update([lab.fragment(learner.policy, [64])])
    assert learner.publish().version == learner.publish().version == 1
    learner.set_state(learner.get_state() | {"version": 7})
    learner.update([lab.fragment(learner.policy, [64])])
    state = learner.get_state()
    assert (learner.publish().version, state["version"], state["num_updates"]) == (8, 8, 2)


@every_algorithm
def test_a_state_that_lacks_a_part_is_refused_before_anything_changes(lab: Any, name: str) -> None:
    learner = make(name, lab.policy())
    state = learner.get_state()
    del state["generator"], state["version"]
    with pytest.raises(ValueError, match="the learner's state lacks generator, version; it was not made by"):
        learner.set_state(state)


@every_algorithm
@with_and_without_memory
@pytest.mark.parametrize("column", ["observations", "next_observations", "rewards"])
def test_a_row_that_is_not_finite_changes_nothing_and_is_named(
    lab: Any, caplog: pytest.LogCaptureFixture, name: str, use_lstm: bool, column: str
) -> None:
    learner = make(name, lab.policy(use_lstm=use_lstm, **NORMALISED), minibatch_size=100)
    before = learner.get_state()
    fragment = lab.fragment(learner.policy, [20], end_probability=0.0)
    array = fragment.rewards if column == "rewards" else getattr(fragment, column)[""]
    array[-1] = np.nan
    metrics = learner.update([fragment])
    assert metrics["skipped_steps"] == metrics["num_steps"] > 0
    assert f"column {column} holds nan in 1 of" in caplog.text
    after = learner.get_state()
    assert after["optimizer"]["count"] == 0
    for path, tensor in before["module"].items():
        if path.startswith("network"):
            np.testing.assert_array_equal(tensor, after["module"][path])
    assert all(np.isfinite(tensor).all() for tensor in after["module"].values())


@every_algorithm
def test_schedules_follow_environment_steps(lab: Any, name: str) -> None:
    learner = make(name, lab.policy(), lr=[[0, 1e-3], [128, 0.0]])
    rates = [learner.update([lab.fragment(learner.policy, [64])])["learning_rate"] for _ in range(3)]
    assert rates == pytest.approx([1e-3, 5e-4, 0.0])


@every_algorithm
@with_and_without_memory
def test_one_row_is_enough(lab: Any, name: str, use_lstm: bool) -> None:
    policy = lab.policy(use_lstm=use_lstm, **NORMALISED)
    assert make(name, policy).update([lab.fragment(policy, [1])])["skipped_steps"] == 0.0


def test_an_algorithm_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="knows no algorithm 'dqn'; choose from ppo, impala, appo"):
        settings_class("dqn")


def test_settings_of_another_algorithm_are_refused(lab: Any) -> None:
    with pytest.raises(ValueError, match="impala takes IMPALASettings; it was given PPOSettings"):
        make_learner("impala", lab.policy(), settings_class("ppo")(), seed=0)
