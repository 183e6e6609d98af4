"""Policies learn together what they would learn alone."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.learner import PPOLearner, PPOSettings, StackedPPOLearner
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace

BOX = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
RAGGED = [[7, 3], [1], [20], [5, 5, 5], [33, 2], [4]]
SETTINGS = PPOSettings(minibatch_size=8, num_epochs=3, lr=1e-2)
NORMALISED = {"normalize_observations": True, "normalize_rewards": True}


def recipe(**module: Any) -> PolicyRecipe:
    return PolicyRecipe(
        observation_space=BOX,
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(8,), **module),
        seed=0,
    )


def learner(numbers: Sequence[int], chosen: PPOSettings = SETTINGS, **options: Any) -> StackedPPOLearner:
    module = options.pop("module", {})
    stack = PolicyStack(recipe(**module), list(numbers))
    return StackedPPOLearner(stack, chosen, numbers=numbers, seed=5, **options)


def fragment(lab: Any, number: int, lengths: Sequence[int], *, seed: int = 0, **module: Any) -> Any:
    policy = replace(recipe(**module), seed=number).build()
    made = lab.fragment(policy, lengths, seed=100 * seed + number)
    return replace(made, streams=replace(made.streams, policy=np.full(len(lengths), number, np.int32)))


def fragments(lab: Any, lengths: Sequence[Sequence[int]] = RAGGED, *, seed: int = 0) -> list[Any]:
    return [fragment(lab, number, rows, seed=seed) for number, rows in enumerate(lengths)]


def weights(stacked: StackedPPOLearner, number: int) -> dict[str, Any]:
    place = stacked.numbers.tolist().index(number)
    return {name: tensor[place] for name, tensor in stacked.publish().tensors.items()}


def assert_equal(a: Any, b: Any, *, exactly: bool = False) -> None:
    """Compare trees of arrays and numbers."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_equal(a[name], b[name], exactly=exactly)
    elif isinstance(a, np.ndarray) and not exactly:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(a, b)


def without_version(state: Any) -> Any:
    counters = {name: x for name, x in state["counters"].items() if name != "version"}
    return {**state, "counters": counters}


@pytest.mark.parametrize("module", [{}, NORMALISED])
@pytest.mark.parametrize("chosen", [{}, {"use_kl_loss": True}, {"recompute_advantages": True}])
def test_stacked_policies_learn_what_each_learns_alone(lab: Any, module: Any, chosen: Any) -> None:
    trained = replace(SETTINGS, **chosen)
    together = learner(range(6), trained, module=module)
    alone = [learner([number], trained, module=module) for number in range(6)]
    for seed in range(2):
        given_ = fragments(lab, seed=seed)
        together.update(given_)
        for one, part in zip(alone, given_, strict=True):
            one.update([part])
    for number, one in enumerate(alone):
        assert_equal(together.policy_state(number), one.policy_state(number))


def test_with_zipf_rows_too(lab: Any) -> None:
    lengths = [[max(1, 60 // (number + 1))] for number in range(12)]
    together = learner(range(12))
    together.update(fragments(lab, lengths))
    for number in (0, 1, 5, 11):
        alone = learner([number])
        alone.update([fragment(lab, number, lengths[number])])
        assert_equal(together.policy_state(number), alone.policy_state(number))


@pytest.mark.parametrize("module", [{}, NORMALISED])
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"use_kl_loss": True},
        {"vf_clip_param": 0.1, "entropy_coeff": 0.1, "grad_clip": None},
        {"recompute_advantages": True, "vf_clip_param": 0.1, "use_kl_loss": True},
    ],
)
def test_where_a_minibatch_holds_all_rows_it_is_what_ppo_learns(lab: Any, module: Any, chosen: Any) -> None:
    whole = replace(SETTINGS, minibatch_size=64, **chosen)
    together = learner(range(6), whole, module=module)
    alone = [PPOLearner(replace(recipe(**module), seed=n).build(), whole, seed=1) for n in range(6)]
    for seed in range(2):
        given_ = fragments(lab, seed=seed)
        together.update(given_)
        metrics = [one.update([part]) for one, part in zip(alone, given_, strict=True)]
    for number, one in enumerate(alone):
        state, expected = together.policy_state(number), one.get_state()
        assert_equal(state["module"], expected["module"])
        assert_equal(state["first_moments"], expected["optimizer"]["first_moments"])
        assert_equal(state["second_moments"], expected["optimizer"]["second_moments"])
        assert state["counters"]["num_env_steps"] == expected["num_env_steps"]
        ours = {name: column[number] for name, column in together.policy_metrics().items()}
        assert ours == pytest.approx({n: metrics[number][n] for n in ours}, rel=1e-3, abs=1e-5, nan_ok=True)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(split=st.lists(st.integers(0, 2), min_size=6, max_size=6), data=st.data())
def test_it_makes_no_difference_who_shares_a_stack(lab: Any, split: list[int], data: Any) -> None:
    together = learner(range(6))
    together.update(fragments(lab))
    for part in set(split):
        numbers = [number for number, where in enumerate(split) if where == part]
        some = learner(numbers)
        order = data.draw(st.permutations(numbers))
        some.update([fragment(lab, number, RAGGED[number]) for number in order])
        for number in numbers:
            assert_equal(together.policy_state(number), some.policy_state(number))


def test_it_makes_no_difference_how_blocks_are_cut(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from outrider.learner.stacks import blocks

    at_once, in_blocks = learner(range(6)), learner(range(6))
    at_once.update(fragments(lab, [[4]] * 6))
    monkeypatch.setattr(blocks.cut_blocks, "__kwdefaults__", {"max_policies": 2})
    in_blocks.update(fragments(lab, [[4]] * 6))
    assert_equal(at_once.get_state(), in_blocks.get_state())


def test_each_row_is_seen_exactly_once_in_an_epoch(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    stacked = learner(range(6))
    whole = stacked.stack.forward_with

    def spy(tensors: Any, observations: Any) -> Any:
        if torch.is_grad_enabled():
            first = observations[""][..., 0]
            outputs = whole(tensors, observations)
            outputs[1].register_hook(lambda gradient: seen.extend(first[gradient != 0].tolist()))
            return outputs
        return whole(tensors, observations)

    monkeypatch.setattr(stacked.stack, "forward_with", spy)
    given_ = fragments(lab)
    metrics = stacked.update(given_)
    rows = np.concatenate([part.observations[""][:, 0] for part in given_])
    np.testing.assert_array_equal(np.sort(seen), np.sort(np.repeat(rows, SETTINGS.num_epochs)))
    assert metrics["num_env_steps_trained"] == len(rows)
    steps = [SETTINGS.num_epochs * -(-sum(lengths) // SETTINGS.minibatch_size) for lengths in RAGGED]
    assert stacked.policy_metrics()["num_steps"].tolist() == steps


def test_a_policy_without_rows_does_not_move_a_bit(lab: Any) -> None:
    stacked = learner(range(6), module=NORMALISED)
    stacked.update(fragments(lab))
    before = stacked.policy_state(2)
    stacked.update([part for part in fragments(lab, seed=1) if part.streams.policy[0] != 2])
    assert_equal(stacked.policy_state(2), before, exactly=True)
    assert np.isnan(stacked.policy_metrics()["policy_loss"]).tolist() == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


def test_a_frozen_policy_does_not_move_a_bit_until_it_is_thawed(lab: Any) -> None:
    stacked = learner(range(6), module=NORMALISED)
    stacked.update(fragments(lab))
    stacked.freeze([4])
    before = stacked.policy_state(4)
    stacked.update(fragments(lab, seed=1))
    assert_equal(stacked.policy_state(4)["module"], before["module"], exactly=True)
    assert_equal(stacked.policy_state(4)["counters"], before["counters"], exactly=True)
    stacked.thaw([4])
    stacked.update(fragments(lab, seed=2))
    assert stacked.policy_state(4)["counters"]["num_updates"] == 2


def test_returns_of_a_frozen_policy_are_gathered_by_its_own_discount(lab: Any) -> None:
    frozen, trained = (learner(range(2), module=NORMALISED, overrides={1: {"gamma": 0.1}}) for _ in range(2))
    frozen.freeze([0])
    for stacked in (frozen, trained):
        stacked.update([fragment(lab, 0, [7]), fragment(lab, 1, [7])])
    assert_equal(frozen.policy_state(0)["reward_scale"], trained.policy_state(0)["reward_scale"])


def test_nothing_is_trained_where_all_rows_are_of_frozen_policies(lab: Any) -> None:
    stacked = learner(range(2))
    stacked.freeze([0, 1])
    assert stacked.update(fragments(lab, [[4], [5]])) == {}
    assert stacked.publish().version == 0


@pytest.mark.parametrize("column", ["rewards", "observations"])
def test_a_policy_whose_rows_are_not_finite_is_skipped_and_no_other(lab: Any, column: str) -> None:
    stacked, sound = learner(range(6)), learner(range(6))
    given_ = fragments(lab)
    before = stacked.policy_state(4)
    array = given_[4].rewards if column == "rewards" else given_[4].observations[""]
    array[3] = np.nan
    stacked.update(given_)
    after = stacked.policy_state(4)
    for part in ("module", "first_moments", "second_moments"):
        assert_equal(after[part], before[part], exactly=True)
    assert after["counters"]["num_steps"] == 0
    sound.update([part for number, part in enumerate(given_) if number != 4])
    for number in (0, 1, 2, 3, 5):
        assert_equal(stacked.policy_state(number), sound.policy_state(number))
    metrics = stacked.policy_metrics()
    assert metrics["skipped_steps"].tolist() == [0, 0, 0, 0, metrics["num_steps"][4], 0]


def test_a_policy_whose_loss_overflows_is_named_when_that_begins(
    lab: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stacked, given_ = learner(range(6)), fragments(lab)
    given_[4].rewards[:] = 1e30
    for _ in range(2):
        stacked.update(given_)
    (sentence,) = caplog.messages
    assert sentence.startswith(
        "gradient steps of policy number 4 are skipped because value loss became inf: "
    )


def test_too_many_skipped_steps_in_a_row_are_said_with_whose_they_are_and_no_other_learns_less(
    lab: Any,
) -> None:
    settings = replace(SETTINGS, max_consecutive_skipped_steps=5)
    stacked, sound = learner(range(6), settings), learner(range(6), settings)
    given_ = fragments(lab)
    given_[4].rewards[:] = np.nan
    stacked.update(given_)
    ((number, reason),) = stacked.diverged.items()
    assert number == 4
    assert "gradient steps in a row were skipped; in the last, column rewards holds nan in" in reason
    sound.update([part for number, part in enumerate(given_) if number != 4])
    for number in (0, 1, 2, 3, 5):
        assert_equal(stacked.policy_state(number), sound.policy_state(number))
    stacked.update(fragments(lab, seed=1))
    assert not stacked.diverged


def test_the_divergence_stops_one_policy_and_not_the_others(lab: Any) -> None:
    stacked = learner(range(3), replace(SETTINGS, early_stop_kl=0.001, lr=1e-6), overrides={1: {"lr": 0.1}})
    stacked.update(fragments(lab, [[9], [9], [9]]))
    assert stacked.policy_metrics()["num_epochs"].tolist() == [3.0, 1.0, 3.0]


def test_each_policy_may_have_settings_of_its_own(lab: Any) -> None:
    own = {0: {"lr": [[0, 1e-2], [20, 0.0]], "gamma": 0.5}, 2: {"clip_param": 0.05, "grad_clip": 0.01}}
    together = learner(range(3), overrides=own)
    lengths = [[10], [10], [9]]
    alone = [learner([n], replace(SETTINGS, **own.get(n, {}))) for n in range(3)]
    for seed in range(2):
        given_ = fragments(lab, lengths, seed=seed)
        together.update(given_)
        for one, part in zip(alone, given_, strict=True):
            one.update([part])
    assert together.policy_metrics()["learning_rate"].tolist() == pytest.approx([0.005, 0.01, 0.01])
    for number in range(3):
        assert_equal(together.policy_state(number), alone[number].policy_state(number))


def test_a_setting_that_must_be_alike_is_refused() -> None:
    with pytest.raises(
        ValueError, match="policy 1 sets num_epochs for itself, which must be alike in a stack"
    ):
        learner(range(2), overrides={1: {"num_epochs": 4}})


@pytest.mark.parametrize("discount", [0.9, 0.99])
def test_a_constant_value_bootstraps_where_a_stream_is_cut(lab: Any, discount: float) -> None:
    """With V = 10, r = 1 and trace decay 1: the target is 1 + discount + ... + 10 discount^n."""
    chosen = replace(SETTINGS, gamma=0.5, lambda_=1.0, num_epochs=1, normalize_advantages=False, lr=0.0)
    stacked = learner(range(2), chosen, overrides={1: {"gamma": discount}})
    for name, tensor in stacked.stack.tensors.items():
        if name.startswith("network.value_head"):
            tensor.fill_(10.0 if name.endswith("bias") else 0.0)
    given_ = [replace(part, rewards=np.ones(3, np.float32), **ends()) for part in fragments(lab, [[3], [3]])]
    stacked.update(given_)
    for number, gamma in enumerate((0.5, discount)):
        error = [sum(gamma**k for k in range(n)) + 10.0 * gamma**n - 10.0 for n in (3, 2, 1)]
        assert stacked.policy_metrics()["value_loss"][number] == pytest.approx(
            np.mean(np.square(error)), rel=1e-5
        )


def ends() -> dict[str, Any]:
    nowhere = np.zeros(3, bool)
    return {
        "terminated": nowhere,
        "truncated": nowhere,
        "next_rows": np.array([2]),
        "next_observations": {"": np.zeros((1, 3), np.float32)},
    }


def test_a_resumed_learner_gives_the_same_bits_as_one_that_never_stopped(lab: Any) -> None:
    chosen = replace(SETTINGS, use_kl_loss=True, lr=[[0, 1e-2], [100, 1e-3]])
    went_on = learner(range(6), chosen, module=NORMALISED)
    for seed in range(2):
        went_on.update(fragments(lab, seed=seed))
    resumed = learner(range(6), chosen, module=NORMALISED)
    resumed.set_state(copy.deepcopy(went_on.get_state()))
    for seed in range(2, 4):
        for one in (went_on, resumed):
            one.update(fragments(lab, seed=seed))
    assert_equal(resumed.get_state(), went_on.get_state(), exactly=True)


def test_a_state_is_a_copy(lab: Any) -> None:
    stacked = learner(range(6), module=NORMALISED)
    stacked.update(fragments(lab))
    whole, single = stacked.get_state(), stacked.policy_state(3)
    before = copy.deepcopy((whole, single))
    stacked.update(fragments(lab, seed=1))
    assert_equal(whole, before[0], exactly=True)
    assert_equal(single, before[1], exactly=True)


def test_a_state_of_other_policies_is_refused(lab: Any) -> None:
    with pytest.raises(
        ValueError,
        match=r"stack 'stack' has 2: the state alone has 1, stack 'stack' alone has 2",
    ):
        learner([0, 2]).set_state(learner([0, 1]).get_state())


def test_a_policy_goes_on_in_another_stack_as_if_it_had_not_moved(lab: Any) -> None:
    stacked, other = learner(range(6), module=NORMALISED), learner([1, 7, 9], module=NORMALISED)
    stacked.update(fragments(lab))
    other.update([fragment(lab, 9, [30])])
    other.set_policy_state(7, copy.deepcopy(stacked.policy_state(4)))
    part = fragment(lab, 4, RAGGED[4], seed=1)
    stacked.update([part])
    other.update([replace(part, streams=replace(part.streams, policy=np.full(2, 7, np.int32)))])
    mine, theirs = without_version(other.policy_state(7)), without_version(stacked.policy_state(4))
    theirs["reward_scale"]["stream_keys"][:, 0] = 7
    assert_equal(mine, theirs)


def test_a_policy_that_is_added_begins_as_its_seed_says_and_learns(lab: Any) -> None:
    stacked, alone = learner([0, 3]), learner([2])
    stacked.update([fragment(lab, 0, [9])])
    stacked.add(2, like=None, seed=2)
    assert stacked.numbers.tolist() == [0, 2, 3]
    for one in (stacked, alone):
        one.update([fragment(lab, 2, [20])])
    assert_equal(without_version(stacked.policy_state(2)), without_version(alone.policy_state(2)))


def test_a_copy_begins_as_the_other_is_and_goes_its_own_way(lab: Any) -> None:
    stacked = learner([0, 1], overrides={1: {"lr": 0.1}})
    stacked.update([fragment(lab, 1, [20])])
    stacked.add(5, like=1, seed=0)
    assert_equal(weights(stacked, 5), weights(stacked, 1), exactly=True)
    before = stacked.policy_state(1)
    stacked.update([fragment(lab, 5, [20])])
    assert stacked.policy_metrics()["learning_rate"][2] == 0.1
    assert_equal(stacked.policy_state(1), before, exactly=True)


def test_a_removed_policy_leaves_the_others_as_they_are(lab: Any) -> None:
    stacked = learner(range(6), module=NORMALISED)
    stacked.update(fragments(lab))
    before = stacked.policy_state(5)
    stacked.remove(2)
    assert stacked.numbers.tolist() == [0, 1, 3, 4, 5]
    assert_equal(stacked.policy_state(5), before, exactly=True)
    rows = stacked.load(fragments(lab, seed=1))
    assert stacked.update_rows(rows)["num_env_steps_trained"] == 85 - 20
    with pytest.raises(ValueError, match="there is no policy 2 in stack 'stack', which has 0, 1, 3, 4, 5"):
        stacked.policy_state(2)


def test_versions_say_which_policies_have_changed(lab: Any) -> None:
    stacked = learner(range(3))
    assert stacked.publish().stacks[0].versions.tolist() == [0, 0, 0]
    stacked.update([fragment(lab, 1, [5])])
    stacked.update([fragment(lab, 2, [5]), fragment(lab, 1, [5])])
    (stack,) = stacked.publish().stacks
    assert (stack.versions.tolist(), stack.policies.tolist()) == ([0, 2, 2], [0, 1, 2])


def test_rows_of_a_policy_in_several_fragments_are_its_rows(lab: Any) -> None:
    apart, joined = learner(range(2)), learner(range(2))
    parts = [fragment(lab, 0, [6]), fragment(lab, 1, [5]), fragment(lab, 0, [4], seed=1)]
    apart.update(parts)
    joined.update([parts[1], parts[0], parts[2]])
    assert_equal(apart.get_state(), joined.get_state())
    assert apart.policy_metrics()["num_env_steps_trained"].tolist() == [10.0, 5.0]


def test_numbers_that_do_not_fit_the_stack_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a stack of 2 policies has the numbers \[1, 0\]"):
        StackedPPOLearner(PolicyStack(recipe(), [0, 1]), SETTINGS, numbers=[1, 0], seed=0)
