"""A peer's environments are as good as our own, and what it must not send is told in a sentence."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunner, EnvRunnerSettings
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium
from outrider.envrunner.environments.sync_vector import SyncVector
from outrider.envrunner.environments.vector_environment import environment_seed
from outrider.envrunner.gateway.remote_vector import PeerGoneError, PeerMisbehavedError, RemoteVector
from outrider.testing.fragments import assert_same_fragment, assert_well_formed
from outrider.testing.scripted import ScriptedEnvironment, ScriptedPolicy, scripted_weights
from outrider.wire import WireError
from outrider.wire.session import Action, Step

LONG_S = 30.0
NUM_ENVS = 5


class Peer:
    """Steps environments of its own, as a program in another language would."""

    def __init__(self, num_envs: int, make: Callable[[], Any] = ScriptedEnvironment) -> None:
        self._envs = SyncVector([make] * num_envs, on_failure=lambda *_: pytest.fail("it raised"))
        self._read = column_reader(space_from_gymnasium(self._envs.single_observation_space))
        self._none = np.zeros(0, np.bool_)
        self.actions: list[Action] = []

    def first_step(self) -> Step:
        seeds = [environment_seed(0, index) for index in range(self._envs.num_envs)]
        value, _ = self._envs.reset(seed=seeds)
        return Step(
            sequence=1,
            observations=self._read(value),
            rewards=np.zeros(0, np.float32),
            terminated=self._none,
            truncated=self._none,
            ended=np.zeros(0, np.int64),
            final_observations={},
        )

    def step(self, action: Action) -> Step:
        self.actions.append(action)
        ((_, actions),) = action.actions.items()
        value, rewards, terminated, truncated, infos = self._envs.step(actions)
        ended = np.flatnonzero(terminated | truncated)
        final = self._read(np.stack(list(infos["final_obs"][ended]))) if len(ended) else {}
        return Step(
            sequence=action.sequence + 1,
            observations=self._read(value),
            rewards=rewards.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            ended=ended,
            final_observations=final,
        )


def connected(
    peer: Peer, spoil: Callable[[Step], Step] = lambda step: step, num_envs: int = NUM_ENVS
) -> RemoteVector:
    """Return a vector whose peer answers within the call of `send`, with steps that `spoil` changed."""

    def send(action: Action) -> None:
        vector.deliver(spoil(peer.step(action)))

    example = ScriptedEnvironment()
    vector = RemoteVector(
        space_from_gymnasium(example.observation_space),
        space_from_gymnasium(example.action_space),
        num_envs,
        send=send,
        timeout_s=LONG_S,
    )
    vector.deliver(peer.first_step())
    return vector


def runner_over(vector: RemoteVector | None) -> EnvRunner:
    policy = ScriptedPolicy()
    runner = EnvRunner(
        EnvironmentSettings(functools.partial(ScriptedEnvironment)),
        EnvRunnerSettings(num_envs_per_env_runner=NUM_ENVS),
        policy,
        observation_space=space_from_gymnasium(ScriptedEnvironment().observation_space),
        action_heads=policy.action_heads,
        num_steps=9,
        seed=0,
        vector=vector,
    )
    runner.set_weights(scripted_weights(0))
    return runner


def test_fragments_of_a_peers_environments_are_those_of_our_own() -> None:
    ours, theirs = runner_over(None), runner_over(connected(Peer(NUM_ENVS)))
    for _ in range(4):
        fragment = theirs.sample()
        assert_well_formed(fragment)
        assert_same_fragment(ours.sample(), fragment)


def test_actions_are_sent_in_the_environments_own_terms() -> None:
    peer = Peer(NUM_ENVS)
    vector = connected(peer)
    vector.reset()
    vector.step(np.array([0, 1, 2, 0, 1]))
    (action,) = peer.actions
    assert action.sequence == 1
    np.testing.assert_array_equal(action.actions[""], [0, 1, 2, 0, 1])
    assert action.actions[""].dtype == np.int64


def test_a_runner_that_starts_afresh_goes_on_with_what_the_peer_shows() -> None:
    vector = connected(Peer(NUM_ENVS))
    shown, _ = vector.reset()
    np.testing.assert_array_equal(vector.reset()[0], shown)
    after, *_ = vector.step(np.zeros(NUM_ENVS, np.int64))
    np.testing.assert_array_equal(vector.reset(seed=3)[0], after)


def first_row(column: Any) -> Any:
    return {path: column[path][:1] for path in column}


NAN = {"": np.full((NUM_ENVS, 3), np.nan, np.float32)}
SPOILT = {
    "few rewards": (lambda step: replace(step, rewards=step.rewards[1:]), "rewards has 4 entries for 5"),
    "NaN": (lambda step: replace(step, observations=NAN), "observations holds NaN or infinity"),
    "no leaf": (lambda step: replace(step, observations={}), r"has the leaves \[\]"),
    "few rows": (
        lambda step: replace(step, observations=first_row(step.observations)),
        r"observations is float32 \(1, 3\); .*announced with float32 \(5, 3\)",
    ),
    "dtype": (
        lambda step: replace(step, observations={"": step.observations[""].astype(np.float64)}),
        "observations is float64",
    ),
    "NaN followed": (
        lambda step: replace(step, ended=np.arange(NUM_ENVS), final_observations=NAN),
        "final_observations holds NaN or infinity",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_cannot_be_is_told_in_a_sentence(case: str) -> None:
    spoil, sentence = SPOILT[case]
    vector = connected(
        Peer(NUM_ENVS, functools.partial(ScriptedEnvironment, ends=[(99, "truncated")])), spoil
    )
    vector.reset()
    with pytest.raises(PeerMisbehavedError, match=f"step 2 is not valid: .*{sentence}"):
        vector.step(np.zeros(NUM_ENVS, np.int64))


def test_the_first_step_follows_no_action() -> None:
    vector = connected(Peer(NUM_ENVS))
    first = replace(Peer(NUM_ENVS).first_step(), rewards=np.zeros(NUM_ENVS, np.float32))
    vector._arrived = None
    vector._due = 1
    vector.deliver(first)
    with pytest.raises(PeerMisbehavedError, match="the first step has 5 rewards"):
        vector.reset()


def test_a_value_outside_a_discrete_space_is_refused() -> None:
    space = space_from_gymnasium(gym.spaces.Discrete(4, start=2))
    vector = RemoteVector(space, space, 1, send=lambda _: None, timeout_s=LONG_S)
    step = Peer(1).first_step()
    vector.deliver(replace(step, observations={"": np.array([6])}))
    with pytest.raises(PeerMisbehavedError, match="outside its space, which is 2 to 5"):
        vector.reset()


@pytest.mark.parametrize("sequence", [1, 2, 7])
def test_a_step_that_answers_no_action_is_refused(sequence: int) -> None:
    vector = connected(Peer(NUM_ENVS))
    with pytest.raises(WireError, match=f"step {sequence} came and none is due"):
        vector.deliver(replace(Peer(NUM_ENVS).first_step(), sequence=sequence))


def test_a_step_out_of_turn_is_refused() -> None:
    vector = connected(Peer(NUM_ENVS), lambda step: replace(step, sequence=9))
    vector.reset()
    with pytest.raises(WireError, match="step 9 came and step 2 is due"):
        vector.step(np.zeros(NUM_ENVS, np.int64))


def test_a_peer_that_answers_too_late_is_told_so() -> None:
    space = space_from_gymnasium(gym.spaces.Discrete(4))
    vector = RemoteVector(space, space, 1, send=lambda _: None, timeout_s=0.001)
    with pytest.raises(PeerMisbehavedError, match=r"step 1 did not come within 0\.001 s"):
        vector.reset()


def test_a_peer_that_goes_away_ends_the_wait_for_it() -> None:
    space = space_from_gymnasium(gym.spaces.Discrete(4))
    vector = RemoteVector(space, space, 1, send=lambda _: None, timeout_s=LONG_S)
    timer = threading.Timer(0.01, vector.cut, [PeerGoneError("the connection broke")])
    timer.start()
    with pytest.raises(PeerGoneError, match="the connection broke"):
        vector.reset()
    timer.join()
