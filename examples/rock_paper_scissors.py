"""Learns rock-paper-scissors by playing a league of snapshots, and by playing only itself.

    python examples/rock_paper_scissors.py
    python examples/rock_paper_scissors.py --wins 1 1 1

Rock wins 1 against scissors, paper 2 against rock and scissors 3 against paper, unless --wins says otherwise,
so that the best one can do is to show rock, paper and scissors in 3, 1 and 2 of 6 games. A player's
**exploitability** is what somebody gains on average who knows in which shares of games it shows what, and
shows what is best against that; it is 0 only there.

A policy that learns against itself runs after what beats its newest habit, and never arrives. One that also
learns against all of its snapshots alike (fictitious self-play, Brown 1951, Heinrich et al. 2015) makes the
average of these ever harder to exploit, down to what the bonus for entropy costs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import VectorizeMode
from numpy.typing import NDArray

from outrider.algorithm import Algorithm, League, LeagueSettings, PPOConfig
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep

NOTHING_TO_SEE = gym.spaces.Box(0, 1, (1,), np.float32)


def payoffs(wins: Sequence[float]) -> NDArray[np.float32]:
    """Return [3, 3] what one gets who shows the row's sign and the other the column's."""
    rock, paper, scissors = wins
    return np.array([[0, -paper, rock], [paper, 0, -scissors], [-rock, scissors, 0]], np.float32)


def exploitability(shares: NDArray[np.floating[Any]], wins: Sequence[float]) -> float:
    """Return what the best answer gains on average against somebody who shows signs in these shares [3]."""
    return float((payoffs(wins) @ shares).max())


class RockPaperScissors:
    """Rounds of two agents that act at once; each round is an episode. Obeys `MultiAgentVector`."""

    def __init__(self, num_envs: int, wins: Sequence[float] = (1, 1, 1)) -> None:
        self.num_envs = num_envs
        self.agents = ("left", "right")
        slots, signs = np.arange(2), gym.spaces.Discrete(3)
        self.groups = (AgentGroup(slots=slots, observation_space=NOTHING_TO_SEE, action_space=signs),)
        self.state_space = None
        self._payoffs = payoffs(wins)
        self._observations = [{"": np.zeros((num_envs, 2, 1), np.float32)}]
        self._everybody, self._nobody = np.ones((num_envs, 2), np.bool_), np.zeros((num_envs, 2), np.bool_)
        nothing, nobody = {"": np.zeros((0, 1), np.float32)}, np.zeros(0, np.intp)
        self._last = [LastObservations(environments=nobody, members=nobody, observations=nothing)]

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin; there is nothing to draw."""
        return self._show(np.zeros((len(seeds), 2), np.float32), is_over=False)

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Play a round in each copy."""
        left = self._payoffs[actions[0][""][:, 0], actions[0][""][:, 1]]
        return self._show(np.stack([left, -left], 1), is_over=True)

    def get_state(self) -> dict[str, Any]:
        """Return nothing: no round depends on another."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on."""

    def close(self) -> None:
        """There is nothing to close."""

    def _show(self, rewards: NDArray[np.float32], *, is_over: bool) -> MultiAgentStep:
        return MultiAgentStep(
            observations=self._observations,
            acting=self._everybody,
            rewards=rewards,
            terminated=self._everybody if is_over else self._nobody,
            truncated=self._nobody,
            over=np.full(self.num_envs, is_over),
            last=self._last,
        )


@torch.no_grad()
def shares(algorithm: Algorithm, name: str) -> NDArray[np.float64]:
    """Return [3] how often a policy shows each sign."""
    logits, _ = algorithm.policies[name]({"": torch.zeros(1, 1)})
    shown: NDArray[np.float64] = logits.double().softmax(1)[0].numpy()
    return shown


def curve(given: argparse.Namespace, self_play_share: float) -> list[tuple[int, float, float]]:
    """Train, and return by round the exploitability of the policy and of the average of its snapshots."""
    config = (
        PPOConfig()
        .environment(RockPaperScissors, env_config={"wins": given.wins})
        .multi_agent(policies=["main"])
        .env_runners(num_envs_per_env_runner=64, gym_env_vectorize_mode=VectorizeMode.VECTOR_ENTRY_POINT)
        .rl_module(fcnet_hiddens=(16,))
        .training(
            train_batch_size_per_learner=512,
            minibatch_size=1024,
            num_epochs=8,
            lr=given.lr,
            clip_param=0.6,
            entropy_coeff=given.entropy_coeff,  # who shows one sign only learns nothing about the others
            normalize_advantages=False,
        )
        .debugging(seed=given.seed)
    )
    settings = LeagueSettings(
        snapshot_interval=given.snapshot_interval,
        max_snapshots=given.max_snapshots,
        opponents="uniform",
        self_play_share=self_play_share,
    )
    found = []
    with config.build() as algorithm:
        league = League(algorithm, settings)
        shown = {"main@0": shares(algorithm, "main@0")}
        for iteration in range(given.iterations + 1):
            if iteration:
                league.update(algorithm.train())
            for name in league.snapshots:
                if name not in shown:
                    shown[name] = shares(algorithm, name)
            if iteration % (given.iterations // 20 or 1) == 0:
                average = np.mean([shown[name] for name in league.snapshots], 0)
                of_main = exploitability(shares(algorithm, "main"), given.wins)
                found.append((iteration, of_main, exploitability(average, given.wins)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wins", type=float, nargs=3, default=(1, 2, 3), help="of rock, paper, scissors")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--self-play-share", type=float, default=0.5, help="of the league's games")
    parser.add_argument("--snapshot-interval", type=int, default=5)
    parser.add_argument("--max-snapshots", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--entropy-coeff", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.perf_counter()
    alone, league = (curve(given, self_play_share=share) for share in (1.0, given.self_play_share))
    print("exploitability        naive self-play          league")
    print("                    now      average      now      average")
    for (iteration, *of_alone), (_, *of_league) in zip(alone, league, strict=True):
        columns = "".join(f"{value:10.3f}" for value in (*of_alone, *of_league))
        print(f"{iteration:5} iterations {columns}")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
