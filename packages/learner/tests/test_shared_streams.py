"""Ranks that share the rows of each policy learn what one learner does, and each goes on from the other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import LearnerGroupSettings, MultiAgentLearner, OneRank, settings_class
from outrider.learner.groups.rank_policies import RankPolicies
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.plans.rank_state import digests, for_all, join_ranks, own_part, part_for
from outrider.learner.stacks.shared_streams import own_streams
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import BoxSpace, DiscreteSpace, Fragment

CPU = torch.device("cpu")
SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
WHOLE: dict[str, dict[str, Any]] = {
    "ppo": {"minibatch_size": 1000, "num_epochs": 2, "use_kl_loss": True},
    "impala": {"normalize_advantages": True},
    "appo": {"use_kl_loss": True, "target_network_update_freq": 2},
}
MODULE: dict[str, Any] = {"normalize_observations": True, "normalize_rewards": True}
LSTM: dict[str, Any] = {"use_lstm": True, "lstm_cell_size": 4}


def stack(name: str, numbers: Sequence[int], algorithm: str = "ppo", **module: Any) -> StackPlan:
    settings = ModuleSettings(fcnet_hiddens=(8,), **MODULE, **module)
    return StackPlan(
        name=name,
        policy=PolicyRecipe(
            observation_space=SPACE, action_space=DiscreteSpace(num_values=2), settings=settings, seed=0
        ),
        training=settings_class(algorithm)(lr=1e-3, **WHOLE[algorithm]),
        seeds={number: 10 + number for number in numbers},
        is_stacked=not module,
    )


def plan(algorithm: str = "ppo", **changes: Any) -> MultiAgentPlan:
    """Policies 0 and 1 in a stack, and 2 alone with a memory."""
    return MultiAgentPlan(
        algorithm=algorithm,
        stacks=(stack("many", (0, 1), algorithm), stack("sole", (2,), algorithm, **LSTM)),
        settings=LearnerGroupSettings(),
        seed=3,
        **changes,
    )


def played(lab: Any, seed: int) -> Fragment:
    many = lab.fragment(lab.policy(), (9, 4, 3, 8, 1), seed=seed)
    many = replace(many, streams=replace(many.streams, policy=np.array([0, 0, 0, 1, 1], np.int32)))
    sole = lab.fragment(lab.policy(**LSTM), (7, 2, 6), seed=seed + 50)
    return replace(
        many, others=(replace(sole, streams=replace(sole.streams, policy=np.full(3, 2, np.int32))),)
    )


def learn(learner: MultiAgentLearner, fragments: Sequence[Fragment]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for fragment in fragments:
        metrics = learner.update([fragment])
    return {name: value for name, value in metrics.items() if not name.endswith("_s")}


def assert_close(ours: Any, theirs: Any, path: str = "") -> None:
    """Compare what both have; orders of rows are not remembered alike."""
    if isinstance(theirs, dict):
        for name in theirs.keys() - {"generator"}:
            assert_close(ours[name], theirs[name], f"{path}/{name}")
    elif isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5, err_msg=path)
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=path)


def test_streams_of_a_policy_go_round_or_are_nobodys_own(lab: Any) -> None:
    fragments = [lab.fragment(lab.policy(), (5,)), lab.fragment(lab.policy(), (4, 3, 2))]
    dealt = [own_streams(fragments, rank, 3) or [] for rank in range(3)]
    assert [[part.streams.lengths.tolist() for part in own] for own in dealt] == [[[5]], [[4]], [[3, 2]]]
    assert own_streams(fragments, 0, 5) is None


def test_a_rank_gets_no_stream_without_rows(lab: Any) -> None:
    (fragment,) = [lab.fragment(lab.policy(), (5, 4))]
    lengths = np.array([5, 0, 4])
    key = np.zeros(3, np.int32)
    streams = replace(fragment.streams, lengths=lengths, policy=key, environment=key, agent=key)
    parts = [own_streams([replace(fragment, streams=streams)], rank, 2) or [] for rank in range(2)]
    assert [part.num_rows for (part,) in parts] == [5, 4]


@pytest.mark.parametrize("algorithm", WHOLE)
def test_two_ranks_that_share_rows_learn_what_one_learner_does(
    lab: Any, on_ranks: Any, algorithm: str
) -> None:
    fragments = [played(lab, seed) for seed in range(3)]
    one = plan(algorithm).make_learner(OneRank(), CPU)
    expected = learn(one, fragments)
    counters = one.get_state()["stacks"]["many"]["learner"]["counters"]
    shared = plan(algorithm, shares_rows=True)

    def work(ranks: Any) -> Any:
        learner = shared.make_learner(ranks, CPU)
        return learn(learner, fragments), learner.publish(), learner.get_state()

    for metrics, weights, state in on_ranks(2, work):
        assert metrics == pytest.approx(expected, abs=1e-5)
        assert weights.fingerprint == one.publish().fingerprint
        assert_close(dict(weights.tensors), dict(one.publish().tensors))
        assert_close(state["stacks"]["many"]["learner"]["counters"], counters)


@pytest.mark.parametrize("algorithm", WHOLE)
@pytest.mark.parametrize("num_streams", [(1, 1, 1), (5, 1, 5, 1)])
def test_few_streams_count_once_however_many_ranks_there_are(
    lab: Any, on_ranks: Any, algorithm: str, num_streams: tuple[int, ...]
) -> None:
    fragments = []
    for seed, number in enumerate(num_streams):
        sole = lab.fragment(lab.policy(**LSTM), (7, 2, 6, 4, 3)[:number], seed=seed)
        of = replace(sole.streams, policy=np.full(number, 2, np.int32))
        fragments.append(replace(sole, streams=of))
    made = replace(plan(algorithm, shares_rows=True), stacks=(stack("sole", (2,), algorithm, **LSTM),))
    one = replace(made, shares_rows=False).make_learner(OneRank(), CPU)
    expected = learn(one, fragments)
    learned = one.get_state()["stacks"]["sole"]["learner"]

    def work(ranks: Any) -> Any:
        learner = made.make_learner(ranks, CPU)
        return learn(learner, fragments), learner.publish(), learner.get_state()

    for metrics, weights, state in on_ranks(2, work):
        assert metrics == pytest.approx(expected, abs=1e-5)
        assert_close(dict(weights.tensors), dict(one.publish().tensors))
        assert state["stacks"]["sole"]["learner"]["num_env_steps"] == learned["num_env_steps"]


@pytest.mark.parametrize("algorithm", WHOLE)
def test_ranks_go_on_from_what_one_learner_left_and_it_from_what_they_left(
    lab: Any, on_ranks: Any, algorithm: str
) -> None:
    fragments = [played(lab, seed) for seed in range(6)]
    one, other = (forgetful(plan(algorithm)).make_learner(OneRank(), CPU) for _ in range(2))
    learn(one, fragments[:2])
    state = one.get_state()
    learn(one, fragments[2:])
    shared = forgetful(plan(algorithm, shares_rows=True))

    def work(ranks: Any) -> Any:
        learner = shared.make_learner(ranks, CPU)
        learner.set_state(state)
        learn(learner, fragments[2:4])
        return learner.get_state()

    other.set_state(on_ranks(2, work)[0])
    learn(other, fragments[4:])
    assert_close(dict(other.publish().tensors), dict(one.publish().tensors))


def forgetful(made: MultiAgentPlan) -> MultiAgentPlan:
    """Leave out what each rank remembers by itself: unfinished returns, and APPO's earlier rows."""
    buffer = {f"circular_buffer_{name}": 1 for name in ("num_batches", "iterations_per_batch")}
    return replace(
        made,
        stacks=tuple(
            replace(
                each,
                policy=replace(each.policy, settings=replace(each.policy.settings, normalize_rewards=False)),
                training=replace(each.training, **(buffer if made.algorithm == "appo" else {})),
            )
            for each in made.stacks
        ),
    )


def test_resumed_ranks_go_on_to_the_bit_and_what_they_have_alike_is_kept_once(
    lab: Any, on_ranks: Any
) -> None:
    fragments = [played(lab, seed) for seed in range(4)]
    training = {"minibatch_size": 4, "num_epochs": 2}
    stacks = tuple(replace(s, training=replace(s.training, **training)) for s in plan().stacks)
    shared = plan(shares_rows=True)
    shared = replace(shared, stacks=stacks)

    def first(ranks: Any) -> Any:
        learner = shared.make_learner(ranks, CPU)
        learn(learner, fragments[:2])
        state = learner.get_state()
        learn(learner, fragments[2:])
        return state, learner.publish().tensors

    (of_0, whole), (of_1, _) = on_ranks(2, first)
    own = own_part(of_1, digests(of_0))
    assert list(own) == ["stacks"]
    assert set(own["stacks"]["many"]["learner"]) == {"generator", "reward_scale"}
    kept = join_ranks(of_0, [own])

    def again(ranks: Any) -> Any:
        learner = shared.make_learner(ranks, CPU)
        learner.set_state(for_all(kept) | part_for(kept, ranks.rank))
        learn(learner, fragments[2:])
        return learner.publish().tensors

    for tensors in on_ranks(2, again):
        for name, tensor in whole.items():
            np.testing.assert_array_equal(tensors[name], tensor, err_msg=name)


def test_policies_come_go_and_rest_on_ranks_that_share_rows(lab: Any, on_ranks: Any) -> None:
    first, second = played(lab, 0), played(lab, 1)
    numbers = np.array([0, 0, 3, 3, 3], np.int32)
    later = replace(second, streams=replace(second.streams, policy=numbers))

    def work(ranks: Any, made: MultiAgentPlan) -> Any:
        learner = made.make_learner(ranks, CPU)
        shared = ranks if made.shares_rows else None
        calls = RankPolicies(learner, made, device=CPU, ranks=shared).calls
        learn(learner, [first])
        calls["add_policy"](stack("many", (3,)).to_message(), calls["policy_state"](1)["state"])
        calls["add_policy"](stack("new", (4,), **LSTM).to_message(), None)
        calls["freeze"]([0, 2])
        calls["remove_policy"](1)
        learn(learner, [later])
        calls["thaw"]([0])
        learn(learner, [later])
        return learner, calls["policies"]()

    one, expected = work(OneRank(), plan())
    weights = one.publish()
    for learner, told in on_ranks(2, lambda ranks: work(ranks, plan(shares_rows=True))):
        assert_close(dict(learner.publish().tensors), dict(weights.tensors))
        assert told["numbers"].tolist() == expected["numbers"].tolist() == [0, 2, 3, 4]
        assert told["frozen"] == expected["frozen"] == [2]
        assert_close(told["metrics"]["policy_loss"], expected["metrics"]["policy_loss"])
        assert learner.publish().version == weights.version


@pytest.mark.parametrize(
    ("numbers", "frozen", "num_ranks", "would_idle"),
    [
        ((0,), (), 2, True),
        ((0, 1), (), 2, False),
        ((0, 1), (1,), 2, True),
        ((0, 2), (), 2, True),
        ((0,), (), 1, False),
    ],
)
def test_rows_are_better_shared_where_a_rank_would_have_no_policy_to_train(
    numbers: tuple[int, ...], frozen: tuple[int, ...], num_ranks: int, would_idle: bool
) -> None:
    made = replace(plan(), stacks=(stack("many", numbers),), frozen=frozenset(frozen))
    assert made.would_idle(num_ranks) == would_idle
