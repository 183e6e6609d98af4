"""Several policies of several architectures, seen as one learner."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.learner import MultiAgentLearner, SoleLearner, make_learner, settings_class
from outrider.wire import Fragment

NUMBERS = {"small": 3, "large": 5}


def sole(lab: Any, number: int, *, name: str = "ppo", **settings: Any) -> SoleLearner:
    policy = lab.policy(seed=number, **settings)
    learner = make_learner(name, policy, settings_class(name)(minibatch_size=32), seed=number)
    return SoleLearner(learner, number, "sole")


def two(lab: Any) -> MultiAgentLearner:
    return MultiAgentLearner({"small": sole(lab, 3), "large": sole(lab, 5, fcnet_hiddens=(24,))})


def acted(lab: Any, number: int, lengths: Sequence[int] = (20, 13), **options: Any) -> Fragment:
    fragment = lab.fragment(lab.policy(), lengths, **options)
    policy = np.full(len(lengths), number, np.int32)
    return replace(fragment, streams=replace(fragment.streams, policy=policy))


def both(lab: Any, seed: int = 0) -> Fragment:
    return replace(acted(lab, 3, seed=seed), others=(acted(lab, 5, (11,), seed=seed + 100),))


def tensors(learner: Any, stack: str) -> dict[str, Any]:
    return {key: value for key, value in learner.publish().tensors.items() if key.startswith(stack)}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor, theirs[name])


def test_each_policy_learns_what_it_would_learn_alone(lab: Any) -> None:
    learner, alone = two(lab), sole(lab, 5, fcnet_hiddens=(24,))
    learner.update([both(lab)])
    alone.update([acted(lab, 5, (11,), seed=100)])
    ours = {key.removeprefix("large/"): tensor for key, tensor in tensors(learner, "large").items()}
    assert_same(ours, {key.removeprefix("sole/"): t for key, t in alone.publish().tensors.items()})


def test_a_policy_without_rows_does_not_move(lab: Any) -> None:
    learner = two(lab)
    before = learner.policy_state(5)
    learner.update([acted(lab, 3)])
    assert_same(before["module"], learner.policy_state(5)["module"])
    assert learner.policy_state(5)["optimizer"]["count"] == 0
    assert learner.policy_state(3)["optimizer"]["count"] > 0


def test_rows_of_frozen_policies_are_dropped_before_anything_is_computed(lab: Any) -> None:
    learner = two(lab)
    learner.freeze([5])
    assert learner.load([both(lab)]).rows.keys() == {"small"}
    assert learner.update([both(lab)])["num_env_steps_trained"] == 33.0
    learner.thaw([5])
    assert learner.update([both(lab)])["num_env_steps_trained"] == 44.0


def test_a_policy_that_is_frozen_after_loading_does_not_move(lab: Any) -> None:
    learner = two(lab)
    before = tensors(learner, "large")
    rows = learner.load([both(lab)])
    learner.freeze([5])
    assert learner.update_rows(rows)["num_env_steps_trained"] == 33.0
    assert_same(before, tensors(learner, "large"))


def test_an_update_in_which_nobody_trains_counts_and_says_nothing(lab: Any) -> None:
    learner = two(lab)
    learner.freeze([3, 5])
    assert learner.update([both(lab)]) == {}
    weights = learner.publish()
    assert weights.version == 1
    assert [stack.versions.tolist() for stack in weights.stacks] == [[1], [1]]


def test_rows_of_a_number_that_there_never_was_are_refused(lab: Any) -> None:
    sentence = "there are rows of policy 4, which no learner has; there are 3, 5"
    with pytest.raises(ValueError, match=sentence):
        two(lab).load([acted(lab, 4)])
    with pytest.raises(ValueError, match="rows of policy 6, which"):
        two(lab).load([acted(lab, 6)])


def test_rows_of_a_policy_that_was_removed_meanwhile_are_dropped(lab: Any) -> None:
    learner = two(lab)
    loaded = learner.load([both(lab)])
    learner.remove(5)
    assert learner.update_rows(loaded)["num_env_steps_trained"] == 33.0
    assert learner.update([both(lab)])["num_env_steps_trained"] == 33.0
    assert learner.numbers.tolist() == [3]


def test_versions_of_policies_say_when_they_changed(lab: Any) -> None:
    learner = two(lab)

    def versions() -> list[int]:
        weights = learner.publish()
        return [weights.version, *(int(stack.versions[0]) for stack in weights.stacks)]

    assert versions() == versions() == [0, 0, 0]
    learner.update([acted(lab, 3)])
    assert versions() == [1, 1, 0]
    learner.update([acted(lab, 5)])
    learner.update([acted(lab, 5)])
    assert versions() == [3, 1, 3]
    learner.set_policy_state(3, learner.policy_state(3))
    assert versions() == [4, 4, 3]


def test_weights_have_a_first_axis_of_one_and_the_names_of_their_stacks(lab: Any) -> None:
    weights = two(lab).publish()
    state = lab.policy(seed=5, fcnet_hiddens=(24,)).state_dict()
    assert [stack.name for stack in weights.stacks] == ["small", "large"]
    assert [stack.policies.tolist() for stack in weights.stacks] == [[3], [5]]
    for name, tensor in state.items():
        np.testing.assert_array_equal(weights.tensors[f"large/{name}"], tensor.numpy()[None])


def test_what_has_not_changed_is_not_copied_again(lab: Any) -> None:
    learner = two(lab)
    before = tensors(learner, "large")
    learner.update([acted(lab, 3)])
    after = tensors(learner, "large")
    assert all(after[name] is tensor for name, tensor in before.items())


def test_metrics_are_means_over_rows_under_the_names_of_one_learner(lab: Any) -> None:
    learner, small, large = two(lab), sole(lab, 3), sole(lab, 5, fcnet_hiddens=(24,))
    metrics = learner.update([both(lab)])
    parts = [small.update([acted(lab, 3)]), large.update([acted(lab, 5, (11,), seed=100)])]
    assert metrics.keys() == parts[0].keys()
    assert metrics["num_env_steps_trained"] == 44.0
    assert metrics["num_steps"] == parts[0]["num_steps"] + parts[1]["num_steps"]
    mean = (33 * parts[0]["value_loss"] + 11 * parts[1]["value_loss"]) / 44
    assert metrics["value_loss"] == pytest.approx(mean, rel=1e-9)


def test_metrics_of_policies_stand_by_number_and_are_nan_where_one_did_not_train(lab: Any) -> None:
    learner = MultiAgentLearner({"large": sole(lab, 5, fcnet_hiddens=(24,)), "small": sole(lab, 3)})
    learner.update([both(lab)])
    assert learner.policy_metrics()["num_env_steps_trained"].tolist() == [33.0, 11.0]
    learner.update([acted(lab, 5)])
    assert np.isnan(learner.policy_metrics()["value_loss"]).tolist() == [True, False]


def test_a_resumed_learner_gives_the_same_bits_as_one_that_never_stopped(lab: Any) -> None:
    learner, resumed = two(lab), two(lab)
    learner.update([both(lab)])
    learner.freeze([3])
    resumed.freeze([5])
    resumed.set_state(learner.get_state())
    for each in (learner, resumed):
        each.update([both(lab, seed=1)])
    assert resumed.frozen == {3}
    assert resumed.publish().version == learner.publish().version == 2
    assert_same(dict(learner.publish().tensors), dict(resumed.publish().tensors))


def test_a_learner_that_goes_back_lets_runners_have_everything_again(lab: Any) -> None:
    learner = two(lab)
    state = learner.get_state()
    learner.update([both(lab)])
    learner.publish()
    learner.set_state(state | {"version": 7})
    weights = learner.publish()
    assert [weights.version, *(int(stack.versions[0]) for stack in weights.stacks)] == [7, 7, 7]


def test_a_state_of_other_policies_is_refused(lab: Any) -> None:
    state = MultiAgentLearner({"small": sole(lab, 3)}).get_state()
    with pytest.raises(ValueError, match=r"the state is of .* policies and .* add and remove policies"):
        two(lab).set_state(state)


def test_numbers_are_never_used_again(lab: Any) -> None:
    learner = two(lab)
    learner.remove(5)
    with pytest.raises(ValueError, match=r"policy number 5 was used already.*take 6"):
        learner.add_stack("again", sole(lab, 5))
    with pytest.raises(ValueError, match="policy number 3 is used twice"):
        MultiAgentLearner({"one": sole(lab, 3), "other": sole(lab, 3)})


def test_a_policy_of_a_new_architecture_joins_and_trains(lab: Any) -> None:
    learner = MultiAgentLearner({"small": sole(lab, 3)})
    learner.add_stack("large", sole(lab, 5, fcnet_hiddens=(24,)))
    assert learner.publish().version == 1
    assert learner.update([both(lab)])["num_env_steps_trained"] == 44.0


def test_a_stack_of_one_takes_no_more_policies(lab: Any) -> None:
    with pytest.raises(ValueError, match="policy 6 cannot join stack 'sole', which holds policy 3 alone"):
        two(lab).add(6, stack="small")
    with pytest.raises(ValueError, match="there is no stack 'huge'; there are small, large"):
        two(lab).add(6, stack="huge")


def test_a_policy_that_there_is_not_is_named(lab: Any) -> None:
    learner = two(lab)
    for call in (learner.remove, learner.policy_state, lambda number: learner.freeze([number])):
        with pytest.raises(ValueError, match="there is no policy 4; there are 3, 5"):
            call(4)


@pytest.mark.parametrize("name", ["ppo", "impala", "appo"])
@pytest.mark.parametrize("use_lstm", [False, True])
def test_streams_of_many_agents_of_one_environment_are_like_those_of_many_environments(
    lab: Any, name: str, use_lstm: bool
) -> None:
    options = {"use_lstm": use_lstm, "normalize_rewards": True, "normalize_observations": True}
    learners = [sole(lab, 0, name=name, **options) for _ in range(2)]
    for seed in range(2):
        fragment = lab.fragment(lab.policy(**options), (9, 1, 17, 4), seed=seed)
        environments = np.array([0, 0, 1, 1], np.int32)
        agents = np.array([0, 1, 0, 1], np.int32)
        versions = np.arange(31) // 20
        shared = replace(
            fragment,
            streams=replace(fragment.streams, environment=environments, agent=agents),
            policy_version=versions,
        )
        learners[0].update([fragment])
        learners[1].update([shared])
    assert_same(dict(learners[0].publish().tensors), dict(learners[1].publish().tensors))
