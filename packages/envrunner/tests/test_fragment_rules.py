"""What a stranger's fragment must look like, one broken rule at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.envrunner.gateway.fragment_rules import FragmentRules
from outrider.testing.multi_agent_messages import agent_episodes
from outrider.wire import (
    BoxSpace,
    DiscreteSpace,
    EpisodeStatistics,
    Fragment,
    Limits,
    Streams,
    TensorSpec,
    action_heads,
    check_fragment,
    encode_fragment,
)

# Three rows of copy 4, the first of runner 2, which has two copies.
FRAGMENT = Fragment(
    streams=Streams(
        lengths=np.array([3]),
        policy=np.zeros(1, np.int32),
        environment=np.array([4], np.int32),
        agent=np.zeros(1, np.int32),
        state={"h": np.zeros((1, 2), np.float32)},
    ),
    observations={"": np.ones((3, 4), np.float32)},
    actions={"": np.array([0, 1, 2])},
    rewards=np.ones(3, np.float32),
    terminated=np.zeros(3, np.bool_),
    truncated=np.zeros(3, np.bool_),
    next_rows=np.array([2]),
    next_observations={"": np.ones((1, 4), np.float32)},
    action_log_probs=np.zeros(3, np.float32),
    action_parameters=np.zeros((3, 3), np.float32),
    policy_version=np.array([0]),
    episodes=EpisodeStatistics(returns=np.ones(1, np.float32), lengths=np.ones(1, np.int64)),
)


def rules(**changes: Any) -> FragmentRules:
    bound = np.full(4, np.inf, np.float32)
    given: dict[str, Any] = {
        "observation_space": BoxSpace(low=-bound, high=bound),
        "action_heads": action_heads(DiscreteSpace(num_values=3)),
        "state": {"h": TensorSpec(shape=(2,), dtype=np.dtype(np.float32))},
        "num_steps": 3,
        "num_environments": 2,
        "record_action_parameters": True,
    }
    return FragmentRules(**{**given, **changes})


def with_value(column: np.ndarray[Any, Any], value: float) -> np.ndarray[Any, Any]:
    changed = column.copy()
    changed.flat[-1] = value
    return changed


def test_a_good_fragment_keeps_them() -> None:
    rules().check(FRAGMENT, runner=2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"observations": {}}, r"observations are \[\] and should be \[''\]"),
        ({"observations": {"": np.ones((3, 5), np.float32)}}, r"are float32\[5\] a row .* float32\[4\]"),
        ({"observations": {"": np.ones((3, 4))}}, r"observations are float64\[4\] a row"),
        ({"actions": {"": np.zeros(3, np.int32)}}, r"actions are int32\[\] a row and should be int64\[\]"),
        ({"actions": {"": np.array([0, 1, 3])}}, "actions are 0 to 3, and they count from 0 to 2"),
        ({"actions": {"": np.array([0, 1, -1])}}, "actions are -1 to 1"),
        ({"action_parameters": None}, "no action_parameters a row and should have 3"),
        ({"action_parameters": np.zeros((3, 2), np.float32)}, "has 2 action_parameters"),
    ],
)
def test_columns_are_those_that_were_asked_for(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rules().check(replace(FRAGMENT, **changes), runner=2)


NO_EPISODES = EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64))
OTHER = replace(
    FRAGMENT, episodes=NO_EPISODES, streams=replace(FRAGMENT.streams, policy=np.ones(1, np.int32))
)


@pytest.mark.parametrize(
    "changes",
    [
        {"others": (OTHER,)},
        {
            "critic_states": {"": np.zeros(1)},
            "critic_rows": np.zeros(3, np.int64),
            "next_critic_rows": np.zeros(1, np.int64),
        },
        {"episodes": replace(NO_EPISODES, agents=agent_episodes([]))},
    ],
)
def test_a_run_with_one_agent_takes_nothing_of_several(changes: dict[str, Any]) -> None:
    several = replace(FRAGMENT, **changes)
    check_fragment(several)
    with pytest.raises(ValueError, match="the run has one policy for one agent; start this run with several"):
        rules().check(several, runner=2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["observations", "next_observations", "rewards", "action_log_probs"])
def test_numbers_are_finite(name: str, value: float) -> None:
    column = getattr(FRAGMENT, name)
    changed = with_value(column, value) if name in {"rewards", "action_log_probs"} else None
    changes = {name: {"": with_value(column[""], value)} if changed is None else changed}
    with pytest.raises(ValueError, match=f"{name} are NaN or infinite"):
        rules().check(replace(FRAGMENT, **changes), runner=2)


def test_numbers_whose_sum_is_not_finite_are_fine() -> None:
    large = np.full(3, np.finfo(np.float32).max)
    rules().check(replace(FRAGMENT, rewards=large), runner=2)


def test_returns_of_episodes_and_recurrent_states_are_finite() -> None:
    episodes = replace(FRAGMENT.episodes, returns=np.array([np.nan], np.float32))
    with pytest.raises(ValueError, match="returns of episodes are NaN"):
        rules().check(replace(FRAGMENT, episodes=episodes), runner=2)
    streams = replace(FRAGMENT.streams, state={"h": np.full((1, 2), np.inf, np.float32)})
    with pytest.raises(ValueError, match="recurrent state 'h' are NaN"):
        rules().check(replace(FRAGMENT, streams=streams), runner=2)


def test_the_logit_of_a_masked_action_may_be_minus_infinity_and_no_other_is() -> None:
    masked = with_value(np.zeros((3, 3), np.float32), -np.inf)
    rules().check(replace(FRAGMENT, action_parameters=masked), runner=2)
    for value in (np.nan, np.inf):
        broken = replace(FRAGMENT, action_parameters=with_value(masked, value))
        with pytest.raises(ValueError, match="action_parameters are NaN or infinite"):
            rules().check(broken, runner=2)


def test_a_runner_delivers_no_more_rows_than_were_asked_for() -> None:
    with pytest.raises(ValueError, match="3 rows and at most 2"):
        rules(num_steps=1).check(FRAGMENT, runner=2)


def test_a_runner_speaks_of_its_own_copies_only() -> None:
    with pytest.raises(ValueError, match=r"copies 4 to 4, and the runner's are 2 to 3"):
        rules().check(FRAGMENT, runner=1)


def test_there_is_one_policy() -> None:
    streams = replace(FRAGMENT.streams, policy=np.ones(1, np.int32))
    with pytest.raises(ValueError, match="policy 1, and 0 is the only one"):
        rules().check(replace(FRAGMENT, streams=streams), runner=2)


def test_a_fragment_without_rows_is_none_unless_its_one_step_was_a_reset() -> None:
    empty = replace(
        FRAGMENT,
        streams=Streams(
            lengths=np.zeros(0, np.int64),
            policy=np.zeros(0, np.int32),
            environment=np.zeros(0, np.int32),
            agent=np.zeros(0, np.int32),
            state={"h": np.zeros((0, 2), np.float32)},
        ),
        observations={"": np.zeros((0, 4), np.float32)},
        actions={"": np.zeros(0, np.int64)},
        rewards=np.zeros(0, np.float32),
        next_observations={"": np.zeros((0, 4), np.float32)},
        action_log_probs=np.zeros(0, np.float32),
        action_parameters=np.zeros((0, 3), np.float32),
        episodes=EpisodeStatistics(returns=np.ones(0, np.float32), lengths=np.ones(0, np.int64)),
    )
    rules(num_steps=1).check(empty, runner=2)
    with pytest.raises(ValueError, match="it has no rows, and 6 were asked for"):
        rules().check(empty, runner=2)


def test_streams_are_as_long_and_as_many_as_was_asked_for() -> None:
    with pytest.raises(ValueError, match=r"1 streams of up to 3 rows; one for each of 2 .* at most 2"):
        rules(num_steps=2).check(FRAGMENT, runner=2)
    one_each = replace(
        FRAGMENT.streams,
        lengths=np.ones(3, np.int64),
        policy=np.zeros(3, np.int32),
        environment=np.array([4, 4, 5], np.int32),
        agent=np.zeros(3, np.int32),
    )
    with pytest.raises(ValueError, match="3 streams of up to 1 rows"):
        rules().check(replace(FRAGMENT, streams=one_each), runner=2)


def test_no_more_episodes_end_than_there_are_rows() -> None:
    many = EpisodeStatistics(returns=np.ones(4, np.float32), lengths=np.ones(4, np.int64))
    with pytest.raises(ValueError, match="4 episodes ended in 3 rows"):
        rules().check(replace(FRAGMENT, episodes=many), runner=2)


@pytest.mark.parametrize("name", ["observations", "next_observations"])
def test_observations_that_count_stay_in_their_range(name: str) -> None:
    counted = {"": np.zeros(3, np.int64)}
    fragment = replace(FRAGMENT, observations=counted, next_observations={"": np.zeros(1, np.int64)})
    four = rules(observation_space=DiscreteSpace(num_values=4))
    four.check(fragment, runner=2)
    column = getattr(fragment, name)[""]
    with pytest.raises(ValueError, match=f"{name} holds a value outside its space, which is 0 to 3"):
        four.check(replace(fragment, **{name: {"": with_value(column, 4)}}), runner=2)


def test_no_more_is_read_than_was_asked_for() -> None:
    tight = rules().limits(Limits())
    assert (tight.max_rows, tight.max_streams, tight.max_episodes) == (6, 2, 6)
    assert tight.max_message_bytes < 2**22
    assert len(encode_fragment(FRAGMENT).to_bytes()) < tight.max_message_bytes
