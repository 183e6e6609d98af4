"""A program in JavaScript that steps two agents trains them, and its rows are what happened."""

from __future__ import annotations

import logging
import re
import time
from contextlib import ExitStack
from dataclasses import replace

import gymnasium as gym
import numpy as np

from javascript_peers import LAST_WORDS_S, NUM_ENVS, NUM_STEPS, PATIENCE_S, SETTINGS, TRAINING_S, Run, peer
from outrider.algorithm import PPOConfig
from outrider.envrunner import EnvironmentSettings
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.fleet.remote_runners import Ready
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.testing.stacked_mlp_graph import (
    stacked_mlp_graph,
    stacked_mlp_log_probs,
    stacked_mlp_weights,
)
from outrider.transport import LocalWeights
from outrider.wire import AgentGroup, Agents, Fragment, all_parts, joint_fingerprint

SEEN = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
MOVES = {"walker": gym.spaces.Discrete(3, start=-1), "rider": gym.spaces.Discrete(5, start=-2)}
MET = 1.9
"""Mean return of both agents, where an episode that ends well brings 2."""


class Listening(logging.Handler):
    """Knows where a run of this process listens."""

    address = ""

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"--connect (\S+)", record.getMessage())
        self.address = found[1] if found else self.address


def test_two_policies_learn_from_a_runner_in_javascript_that_steps_two_agents(node: str) -> None:
    config = (
        PPOConfig()
        .environment(
            None,
            observation_space=gym.spaces.Dict([(name, SEEN) for name in MOVES]),
            action_space=gym.spaces.Dict(list(MOVES.items())),
        )
        .multi_agent(policies="per_agent")
        .env_runners(num_env_runners=1, num_envs_per_env_runner=16, listen="127.0.0.1:0")
        .rl_module(fcnet_hiddens=(32, 32))
        .training(train_batch_size_per_learner=1024, minibatch_size=128, num_epochs=6, lr=3e-3)
        .debugging(seed=1)
    )
    listening, logger = Listening(), logging.getLogger("outrider.algorithm")
    logger.addHandler(listening)
    with ExitStack() as started:
        started.callback(logger.removeHandler, listening)
        algorithm = started.enter_context(config.build())
        process = started.enter_context(peer(node, "team_acts_itself", listening.address))
        deadline = time.monotonic() + TRAINING_S
        before = algorithm.train()["episode_return_mean"]
        while (result := algorithm.train())["episode_return_mean"] < MET:
            assert time.monotonic() < deadline
        assert before < 1.3
        assert result["num_cut_off"] == 0
        assert {name for name in result if name.endswith("/episode_return_mean")} == {
            "policies/walker/episode_return_mean",
            "policies/rider/episode_return_mean",
        }
        algorithm.stop()
        words = process.communicate(timeout=LAST_WORDS_S)[0]
    assert words.startswith("goodbye: the training run is over; "), words


AGENTS = Agents(
    names=tuple(MOVES),
    groups=tuple(
        AgentGroup(
            slots=(slot,),
            observation_space=space_from_gymnasium(SEEN),
            action_space=space_from_gymnasium(moves),
        )
        for slot, moves in enumerate(MOVES.values())
    ),
)
WALKERS, RIDERS = (
    stacked_mlp_graph(group.observation_space, group.action_space, num_hidden=8) for group in AGENTS.groups
)
TEAM = MultiAgentPlan(
    environment=EnvironmentSettings("only:there"),
    settings=SETTINGS,
    agents=AGENTS.names,
    stacks=(StackPlan(name="walkers", policy=WALKERS), StackPlan(name="riders", policy=RIDERS)),
    policies=(
        PolicyEntry(name="walker", number=0, stack="walkers"),
        PolicyEntry(name="old", number=1, stack="riders"),
        PolicyEntry(name="new", number=2, stack="riders"),
    ),
    mapping=Matchups(
        [(1.0, {"walker": "walker", "rider": "old"}), (2.0, {"walker": "walker", "rider": "new"})]
    ),
    num_steps=NUM_STEPS,
    seed=0,
    environment_agents=AGENTS,
)


def team_weights(version: int, *, num_riders: int = 2) -> LocalWeights:
    parts = [
        stacked_mlp_weights(WALKERS, "walkers", [0], version=version),
        stacked_mlp_weights(RIDERS, "riders", range(1, 1 + num_riders), version=version),
    ]
    stacks = tuple(stack for part in parts for stack in part.stacks)
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    whole = replace(parts[0], fingerprint=joint_fingerprint(stacks), tensors=tensors, stacks=stacks)
    return LocalWeights(whole)


def assert_they_met_or_not(fragment: Fragment) -> None:
    """Assert that what two agents are said to have seen and done is what the line of 9 places makes of it."""
    both = {}
    for part in all_parts(fragment):
        seen = np.rint(8 * part.observations[""]).astype(int)
        after = np.full_like(seen, -1)
        after[:-1] = seen[1:]
        after[part.next_rows] = np.rint(8 * part.next_observations[""]).astype(int)
        agent_N = np.repeat(part.streams.agent, part.streams.lengths)
        copy_N = np.repeat(part.streams.environment, part.streams.lengths)
        for agent, copy in {*zip(agent_N.tolist(), copy_N.tolist(), strict=True)}:
            rows = np.flatnonzero((agent_N == agent) & (copy_N == copy))
            moves = part.actions[""][rows] + list(MOVES.values())[agent].start
            assert (np.clip(seen[rows, 0] + moves, 0, 8) == after[rows, 0])[~part.terminated[rows]].all()
            met = part.terminated[rows]
            assert (part.rewards[rows] == met).all()
            both[agent, copy] = len(rows), int(met.sum()), int(part.truncated[rows].sum())
    assert len(both) == 2 * NUM_ENVS
    for copy in range(NUM_ENVS):
        assert both[0, copy] == both[1, copy] == (NUM_STEPS, *both[0, copy][1:])
    assert sum(each[1] for each in both.values()) == 2 * int((fragment.episodes.returns == 2).sum())


def test_the_rows_of_its_two_agents_are_what_happened_and_what_their_policies_would_draw(node: str) -> None:
    run = Run(TEAM)
    with peer(node, "team_acts_itself", run.gateway.address):
        run.wait_for(Ready)
        for version in range(3):
            run.gateway.ask(0, team_weights(version))
            fragment = run.next_fragment()
            assert_they_met_or_not(fragment)
            for part, graph in zip(all_parts(fragment), (WALKERS, RIDERS), strict=True):
                assert part.policy_version.tolist() == [version]
                np.testing.assert_allclose(
                    part.action_log_probs, stacked_mlp_log_probs(graph, part), atol=1e-5
                )
            assert set(fragment.others[0].streams.policy.tolist()) == {1, 2}
    assert run.gateway.admission.num_cut_off == 0
    run.gateway.close()


def test_it_plays_with_other_policies_once_it_is_told_of_them(node: str) -> None:
    run = Run(TEAM)
    cast = Cast(
        stacks={"walkers": "walkers", "riders": "riders"},
        policies=(*TEAM.policies, PolicyEntry(name="newest", number=3, stack="riders")),
        mapping=Matchups([(1.0, {"walker": "walker", "rider": "newest"})]),
    )
    with peer(node, "team_acts_itself", run.gateway.address):
        run.wait_for(Ready)
        run.gateway.ask(0, team_weights(0))
        run.next_fragment()
        run.gateway.check_cast(cast)
        run.gateway.recast(0, cast, PATIENCE_S)
        for version in (1, 2):  # episodes under way go on as they are
            run.gateway.ask(0, team_weights(version, num_riders=3))
            fragment = run.next_fragment()
        assert set(fragment.others[0].streams.policy.tolist()) == {3}
    run.gateway.close()
