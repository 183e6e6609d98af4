"""Policies that are added, removed, copied and mapped anew between two iterations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outrider.algorithm import Algorithm, PolicySpec, PPOConfig


def config(**multi_agent: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=2)
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1)
        .evaluation(evaluation_duration=2)
        .debugging(seed=1)
        .multi_agent(**{"num_agents": 2, "policies": ["0", "1"]} | multi_agent)
    )


def alone(policy: str) -> list[tuple[float, dict[str, str]]]:
    """Return matchups in which one policy acts for both agents."""
    return [(1.0, {"0": policy, "1": policy})]


def head(algorithm: Algorithm, name: str) -> np.ndarray[Any, Any]:
    return algorithm.policies[name].state_dict()["network.value_head.weight"].numpy().copy()


def test_a_copy_begins_with_the_weights_of_the_other_and_goes_its_own_way() -> None:
    with config().build() as algorithm:
        algorithm.train()
        algorithm.add_policy("copy", like="0")
        assert np.array_equal(head(algorithm, "copy"), head(algorithm, "0"))
        algorithm.set_matchups([(1.0, {"0": "copy", "1": "1"})])
        algorithm.freeze("0")
        kept = head(algorithm, "0")
        for _ in range(3):
            result = algorithm.train()
        assert np.array_equal(head(algorithm, "0"), kept)
        assert not np.array_equal(head(algorithm, "copy"), kept)
        assert result["num_policies"] == 3
        assert result["policies/copy/num_episodes"] > 0


def test_a_new_policy_begins_anew() -> None:
    with config().build() as algorithm:
        algorithm.add_policy("new")
        assert not np.array_equal(head(algorithm, "new"), head(algorithm, "0"))
        algorithm.set_matchups(alone("new"))
        assert algorithm.evaluate()["policies/new/num_episodes"] == 4
        algorithm.train()


def test_a_frozen_copy_plays_and_does_not_learn() -> None:
    with config().build() as algorithm:
        algorithm.add_policy("before", like="0")
        algorithm.freeze("before")
        algorithm.set_matchups([(1.0, {"0": "0", "1": "before"})])
        before = head(algorithm, "before")
        for _ in range(2):
            algorithm.train()
        assert np.array_equal(head(algorithm, "before"), before)
        assert not np.array_equal(head(algorithm, "0"), before)


def test_a_removed_policy_is_gone_at_once() -> None:
    with config().build() as algorithm:
        algorithm.train()
        with pytest.raises(ValueError, match="policy '1' acts for agent '1'; let another do so before"):
            algorithm.remove_policy("1")
        algorithm.set_matchups(alone("0"))
        algorithm.remove_policy("1")
        assert list(algorithm.policies) == ["0"]
        assert algorithm.train()["num_policies"] == 1
        assert algorithm.evaluate()["num_episodes"] == 2
        with pytest.raises(ValueError, match="policy '0' is the only one"):
            algorithm.remove_policy("0")
        algorithm.add_policy("1")
        algorithm.set_matchups(alone("1"))
        algorithm.train()


def _by_side(agent: str, episode: Any) -> str:
    return "0" if (int(agent) + episode.number) % 2 else "1"


def test_a_function_takes_over_the_mapping() -> None:
    with config().build() as algorithm:
        algorithm.set_policy_mapping_fn(_by_side)
        for _ in range(3):
            result = algorithm.train()
        with pytest.raises(ValueError, match=r"policy '0' acts for agent '1'; .* set_policy_mapping_fn"):
            algorithm.remove_policy("0")
        assert result["policies/0/num_episodes"]


def test_a_function_that_was_set_and_cannot_be_found_again_is_missed_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed = config(policy_mapping_fn=lambda agent, episode: agent)
    with changed.build() as algorithm:
        algorithm.save(tmp_path / "before")
        algorithm.set_policy_mapping_fn(lambda agent, episode: "1")
        algorithm.save(tmp_path / "after")
    for path in ("before", "after"):
        assert not caplog.messages
        Algorithm.from_checkpoint(tmp_path / path, config=changed).stop()
    (sentence,) = caplog.messages
    assert "<lambda>" in sentence
    assert (
        "the configuration's policy_mapping_fn acts instead; set_policy_mapping_fn gives it back" in sentence
    )


def test_recurrent_policies_come_and_go_as_well() -> None:
    with config().rl_module(use_lstm=True, lstm_cell_size=4).build() as algorithm:
        algorithm.train()
        algorithm.add_policy("copy", like="0")
        assert np.array_equal(head(algorithm, "copy"), head(algorithm, "0"))
        algorithm.set_matchups(alone("copy"))
        algorithm.remove_policy("1")
        algorithm.train()
        assert list(algorithm.policies) == ["0", "copy"]


@pytest.mark.parametrize("use_lstm", [False, True])
def test_what_changed_is_in_a_checkpoint(tmp_path: Path, *, use_lstm: bool) -> None:
    def changed(algorithm: Algorithm) -> Path:
        algorithm.train()
        algorithm.add_policy("copy", like="0")
        algorithm.freeze("copy")
        algorithm.set_matchups([(1.0, {"0": "0", "1": "copy"}), (1.0, {"0": "copy", "1": "0"})])
        algorithm.remove_policy("1")
        algorithm.train()
        return algorithm.save(tmp_path / "checkpoint")

    slow = {"0": PolicySpec(training={"lr": 1e-3}), "1": None}
    with config(policies=slow).rl_module(use_lstm=use_lstm).build() as algorithm:
        path = changed(algorithm)
        algorithm.train()
        algorithm.add_policy("next", like="copy")
        algorithm.train()
        expected = {name: head(algorithm, name) for name in algorithm.policies}
        metrics = algorithm.policy_metrics()
    with Algorithm.from_checkpoint(path) as resumed:
        assert resumed.frozen == ("copy",)
        resumed.train()
        resumed.add_policy("next", like="copy")
        resumed.train()
        assert all(np.array_equal(head(resumed, name), expected[name]) for name in expected)
        for name, column in resumed.policy_metrics().items():
            assert np.array_equal(column, metrics[name], equal_nan=True), name


@pytest.mark.parametrize(
    ("name", "like", "sentence"),
    [
        ("0", None, "there is a policy '0' already"),
        ("new", "2", "there is no policy '2'"),
        ("new", PolicySpec(rl_module={"fcnet_hiddens": (16,)}), "architecture of one .* from the beginning"),
        ("a/b", None, "give text without '/'"),
        ("", None, "give text without '/'"),
        (3, None, "got the name 3; give text"),
    ],
)
def test_a_policy_that_cannot_be_added_is_refused(name: str, like: Any, sentence: str) -> None:
    with config().build() as algorithm:
        with pytest.raises(ValueError, match=sentence):
            algorithm.add_policy(name, like=like)
        assert list(algorithm.policies) == ["0", "1"]


@pytest.mark.parametrize("change", ["add", "remove"])
def test_what_learners_do_not_change_is_not_changed(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ConnectionError("the learner is gone")

    with config().build() as algorithm:
        algorithm.set_matchups(alone("0"))
        monkeypatch.setattr(f"outrider.learner.groups.learned_policies.PoliciesHere.{change}", gone)
        with pytest.raises(ConnectionError, match="the learner is gone"):
            getattr(algorithm, f"{change}_policy")({"add": "2", "remove": "1"}[change])
        assert list(algorithm.policies) == ["0", "1"]
        assert algorithm.train()["num_policies"] == 2


def test_several_names_are_given_one_by_one() -> None:
    with (
        config().build() as algorithm,
        pytest.raises(ValueError, match=r"\['0', '1'\] is no name of a policy"),
    ):
        algorithm.freeze(["0", "1"])  # type: ignore[arg-type]


def test_it_must_be_said_whose_architecture_a_new_policy_has_where_there_are_several() -> None:
    wide = PolicySpec(rl_module={"fcnet_hiddens": (16,)})
    with config(policies={"0": None, "1": wide}).build() as algorithm:
        with pytest.raises(ValueError, match="one of 2 architectures; say whose: like= '0', '1'"):
            algorithm.add_policy("new")
        algorithm.add_policy("new", like="1")
        assert algorithm.policies["new"].state_dict()["network.value_head.weight"].shape == (1, 16)


def test_an_architecture_is_kept_for_later_by_a_policy_that_waits() -> None:
    wide = PolicySpec(rl_module={"fcnet_hiddens": (16,)})
    waiting = {"policies": {"0": None, "1": None, "wide": wide}, "policies_to_train": ["0", "1"]}
    with pytest.warns(UserWarning, match="policy 'wide' acted for no agent"):
        algorithm = config(**waiting, policy_mapping_fn=_named_after).build()
    with algorithm:
        algorithm.train()
        algorithm.add_policy("new", like="wide")
        algorithm.set_matchups(alone("new"))
        before = head(algorithm, "new")
        for _ in range(2):
            algorithm.train()
        assert not np.array_equal(head(algorithm, "new"), before)


def _named_after(agent: str, episode: Any) -> str:
    return agent


@pytest.mark.parametrize(
    ("matchups", "sentence"),
    [
        ([(1.0, {"0": "0"})], "leaves out agent '1'"),
        ([(1.0, {"0": "0", "1": "7"})], "lets '7' play agent '1', and there is no policy '7'"),
        ([(0.0, {"0": "0", "1": "1"})], "weight 0.0"),
        ([], "there are no matchups"),
    ],
)
def test_matchups_that_do_not_fit_are_refused(matchups: Any, sentence: str) -> None:
    with config().build() as algorithm, pytest.raises(ValueError, match=sentence):
        algorithm.set_matchups(matchups)


def test_a_run_that_samples_ahead_trains_and_keeps_its_policies() -> None:
    with config().env_runners(sample_ahead=True).build() as algorithm:
        algorithm.train()
        with pytest.raises(ValueError, match=r"add_policy\(\) with sample_ahead=True"):
            algorithm.add_policy("new")
        algorithm.train()
