"""Shards of any size on several ranks give what one rank gives."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import PPOLearner, PPOSettings, make_learner, settings_class
from outrider.learner.ranks import OneRank
from outrider.learner.training.advantage_scale import standardise

SETTINGS = PPOSettings(minibatch_size=1000, num_epochs=4, lr=1e-3, entropy_coeff=0.01)


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        ({}, SETTINGS),
        ({"normalize_observations": True, "normalize_rewards": True}, SETTINGS),
        ({"use_lstm": True}, replace(SETTINGS, use_kl_loss=True)),
        ({"normalize_rewards": True}, replace(SETTINGS, recompute_advantages=True)),
    ],
)
def test_two_ragged_shards_equal_one_rank(
    lab: Any, module: dict[str, Any], settings: PPOSettings, on_ranks: Any
) -> None:
    shards = [
        [lab.fragment(lab.policy(**module), [50, 13])],
        [lab.fragment(lab.policy(**module), [20], seed=1, first_environment=2)],
    ]

    def learn(ranks: Any, policy: Any, fragments: list[Any]) -> tuple[dict[str, float], dict[str, Any], Any]:
        learner = PPOLearner(policy, settings, seed=ranks.rank, ranks=ranks)
        metrics = [learner.update(fragments) for _ in range(2)][-1]
        return metrics, learner.get_state()["optimizer"], learner.publish().tensors

    metrics, optimizer, tensors = learn(OneRank(), lab.policy(**module), shards[0] + shards[1])
    # Made before the ranks' threads start, which share torch's global generator.
    policies = [lab.policy(**module) for _ in shards]
    both = on_ranks(2, lambda ranks: learn(ranks, policies[ranks.rank], shards[ranks.rank]))
    for shard_metrics, shard_optimizer, shard_tensors in both:
        for name, tensor in tensors.items():
            np.testing.assert_allclose(shard_tensors[name], tensor, rtol=1e-5, atol=1e-6)
        for name, moment in optimizer["first_moments"].items():
            np.testing.assert_allclose(shard_optimizer["first_moments"][name], moment, atol=1e-6)
        for name in ("policy_loss", "value_loss", "mean_kl", "explained_variance", "num_env_steps_trained"):
            assert shard_metrics[name] == pytest.approx(metrics[name], rel=1e-4, abs=1e-5)
    for name, tensor in both[0][2].items():
        np.testing.assert_array_equal(tensor, both[1][2][name])


WHOLE = {
    "ppo": {"minibatch_size": 1000, "num_epochs": 2, "use_kl_loss": True},
    "impala": {"normalize_advantages": True},
    "appo": {"use_kl_loss": True, "target_network_update_freq": 3},
}
SHARDS = {"even": ([20, 13], [13, 20]), "ragged": ([40, 9, 5], [12])}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("shape", SHARDS)
@pytest.mark.parametrize("use_lstm", [False, True])
def test_ten_updates_on_two_ranks_give_the_weights_of_one(
    lab: Any, name: str, shape: str, use_lstm: bool, on_ranks: Any
) -> None:
    module = {"use_lstm": use_lstm, "normalize_observations": True, "normalize_rewards": True}
    settings = settings_class(name)(lr=1e-3, entropy_coeff=0.01, **WHOLE[name])
    # Made before the ranks' threads start, which share torch's global generator.
    policies = [lab.policy(**module) for _ in range(3)]
    acting = lab.policy(seed=1, **module)
    left, right = [
        [lab.fragment(acting, lengths, seed=first + 10 * n, first_environment=first) for n in range(10)]
        for first, lengths in zip((0, 5), SHARDS[shape], strict=True)
    ]

    def learn(ranks: Any, policy: Any, updates: list[list[Any]]) -> dict[str, Any]:
        learner = make_learner(name, policy, settings, seed=ranks.rank, ranks=ranks)
        for fragments in updates:
            learner.update(fragments)
        return learner.publish().tensors

    def on_rank(ranks: Any) -> dict[str, Any]:
        mine = (left, right)[ranks.rank]
        return learn(ranks, policies[ranks.rank], [[fragment] for fragment in mine])

    alone = learn(OneRank(), policies[2], [list(pair) for pair in zip(left, right, strict=True)])
    first, second = on_ranks(2, on_rank)
    for path, tensor in alone.items():
        np.testing.assert_allclose(first[path], tensor, rtol=1e-5, atol=1e-5, err_msg=path)
        np.testing.assert_array_equal(first[path], second[path], err_msg=path)


@pytest.mark.parametrize("name", ["impala", "appo"])
@pytest.mark.parametrize("use_lstm", [False, True])
def test_ranks_with_unlike_numbers_of_streams_take_the_same_steps(
    lab: Any, name: str, use_lstm: bool, on_ranks: Any
) -> None:
    settings = settings_class(name)(minibatch_size=8)

    def learn(ranks: Any) -> dict[str, float]:
        learner = make_learner(name, lab.policy(use_lstm=use_lstm), settings, seed=0, ranks=ranks)
        return learner.update([lab.fragment(learner.policy, [9] * 6 if ranks.rank else [30, 2, 1])])

    metrics = on_ranks(2, learn)
    assert metrics[0]["num_steps"] == metrics[1]["num_steps"] == 3.0
    assert metrics[0]["value_loss"] == metrics[1]["value_loss"]


def test_advantages_are_standardised_over_all_ranks(on_ranks: Any) -> None:
    whole = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0])
    shards = on_ranks(2, lambda ranks: standardise((whole[:2], whole[2:])[ranks.rank], ranks))
    torch.testing.assert_close(torch.cat(shards), standardise(whole, OneRank()))
    torch.testing.assert_close(torch.cat(shards).mean(), torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("reward", [1e30, np.nan])
def test_a_bad_number_on_one_rank_skips_the_step_on_all(lab: Any, reward: float, on_ranks: Any) -> None:
    def learn(ranks: Any) -> dict[str, float]:
        learner = PPOLearner(lab.policy(), SETTINGS, seed=0, ranks=ranks)
        fragment = lab.fragment(learner.policy, [20])
        if ranks.rank == 1:
            fragment = replace(fragment, rewards=np.full(20, reward, np.float32))
        return learner.update([fragment])

    assert [metrics["skipped_steps"] for metrics in on_ranks(2, learn)] == [4.0, 4.0]


@pytest.mark.parametrize("use_lstm", [False, True])
def test_a_rank_with_few_rows_takes_as_many_steps_as_the_others(
    lab: Any, use_lstm: bool, on_ranks: Any
) -> None:
    settings = replace(SETTINGS, minibatch_size=8, num_epochs=1, max_seq_len=4)

    def learn(ranks: Any) -> dict[str, float]:
        learner = PPOLearner(lab.policy(use_lstm=use_lstm), settings, seed=0, ranks=ranks)
        return learner.update([lab.fragment(learner.policy, [60] if ranks.rank else [2])])

    metrics = on_ranks(2, learn)
    assert metrics[0]["num_steps"] == metrics[1]["num_steps"] == 4.0
    assert metrics[0]["value_loss"] == metrics[1]["value_loss"]
