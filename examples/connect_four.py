"""Learns connect four by playing itself and a league of its snapshots, then plays simple players.

    python examples/connect_four.py
    python examples/connect_four.py --iterations 40 --self-play-share 1

The environment is native: all games are NumPy arrays and step at once. A board is two bit boards, one for
each player, of 7 columns with 7 bits each, the lowest row first; the seventh bit of a column stays empty, so
that lines do not run from one column into the next.

     5 12 19 26 33 40 47
     4 11 18 25 32 39 46
     3 10 17 24 31 38 45
     2  9 16 23 30 37 44
     1  8 15 22 29 36 43
     0  7 14 21 28 35 42

Axes: E = games, C = columns, B = places of the board.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import VectorizeMode
from numpy.typing import NDArray

from outrider.algorithm import League, LeagueSettings, PPOConfig
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep
from outrider.rlmodule import Policy

Boards = NDArray[np.int64]
PLACES = np.array([7 * column + row for column in range(7) for row in range(6)])
BOTTOM, TOP = 1 << 7 * np.arange(7), 1 << 7 * np.arange(7) + 5
"""[C] the lowest and the highest place of each column."""
OBSERVATION_SPACE = gym.spaces.Dict(
    board=gym.spaces.Box(0, 1, (5 * len(PLACES),), np.float32),
    action_mask=gym.spaces.MultiBinary(7),
)


class ConnectFour:
    """Games of two agents that take turns, "first" and "second"; obeys `MultiAgentVector`.

    An agent observes `planes` from its side. It gets 1 where it wins and -1 where it loses, with the move
    that led there. Games begin after up to `most_random_moves` random ones, at most 6,
    so that nobody has won by then: players that always begin alike would see few positions.
    """

    def __init__(self, num_envs: int, most_random_moves: int = 0) -> None:
        self.num_envs = num_envs
        self._most_random_moves = most_random_moves
        self._rng = np.random.default_rng(0)
        self.agents = ("first", "second")
        self.groups = (
            AgentGroup(
                slots=np.arange(2),
                observation_space=OBSERVATION_SPACE,
                action_space=gym.spaces.Discrete(7),
            ),
        )
        self.state_space = None
        self._games = np.arange(num_envs)
        self._boards: Boards = np.zeros((num_envs, 2), np.int64)
        """[E, 2] bits of the pieces of each player."""
        self._turn = np.zeros(num_envs, np.intp)
        self._nobody = np.zeros((num_envs, 2), np.bool_)
        nothing = np.zeros(0, np.intp)
        shapes = {"/board": (0, 5 * len(PLACES)), "/action_mask": (0, 7)}
        columns = {path: np.zeros(shape, np.float32) for path, shape in shapes.items()}
        self._last = [LastObservations(environments=nothing, members=nothing, observations=columns)]
        """Nobody is ever cut off."""

    @property
    def turn(self) -> NDArray[np.intp]:
        """[E] who acts next."""
        return self._turn

    @property
    def to_move(self) -> tuple[Boards, Boards]:
        """[E] the pieces of who acts next, and those of the other."""
        return self._boards[self._games, self._turn], self._boards[self._games, 1 - self._turn]

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin all games."""
        self._rng = np.random.default_rng(list(seeds))
        self._begin(np.ones(len(seeds), np.bool_))
        return self._show(np.zeros((len(seeds), 2), np.float32), np.zeros(len(seeds), np.bool_))

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Put a piece into a column of each game."""
        games, mover = self._games, self._turn
        column = actions[0][""][games, mover]
        own, other = self.to_move
        own = own | free_places(own, other)[games, column]
        self._boards[games, mover] = own
        won = wins(own)
        over = won | (((own | other) & TOP.sum()) == TOP.sum())
        rewards = np.zeros((self.num_envs, 2), np.float32)
        rewards[games, mover] = won
        rewards[games, 1 - mover] = -rewards[games, mover]
        self._turn = 1 - mover
        self._begin(over)
        return self._show(rewards, over)

    def get_state(self) -> dict[str, Any]:
        """Return all games."""
        rng = self._rng.bit_generator.state
        return {"boards": self._boards.copy(), "turn": self._turn.copy(), "rng": rng}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._boards, self._turn = state["boards"].copy(), state["turn"].copy()
        self._rng.bit_generator.state = state["rng"]

    def close(self) -> None:
        """There is nothing to close."""

    def _begin(self, which: NDArray[np.bool_]) -> None:
        """Begin some games [E]."""
        self._boards[which], self._turn[which] = 0, 0
        if not (self._most_random_moves and which.any()):
            return
        num_moves = self._rng.integers(0, self._most_random_moves + 1, self.num_envs) * which
        for number in range(self._most_random_moves):
            moves = np.flatnonzero(num_moves > number)
            own, other = (board[moves] for board in self.to_move)
            column = drawn(self._rng, allowed(own, other))
            self._boards[moves, self._turn[moves]] |= free_places(own, other)[np.arange(len(moves)), column]
            self._turn[moves] = 1 - self._turn[moves]

    def _show(self, rewards: NDArray[np.float32], over: NDArray[np.bool_]) -> MultiAgentStep:
        own, other = self.to_move
        board = np.zeros((self.num_envs, 2, 5 * len(PLACES)), np.float32)
        board[self._games, self._turn] = planes(own, other)
        mask = np.zeros((self.num_envs, 2, 7), np.int8)
        mask[self._games, self._turn] = allowed(own, other)
        acting = self._nobody.copy()
        acting[self._games, self._turn] = True
        return MultiAgentStep(
            observations=[{"/board": board, "/action_mask": mask}],
            acting=acting,
            rewards=rewards,
            terminated=np.repeat(over[:, None], 2, 1),
            truncated=self._nobody,
            over=over,
            last=self._last,
        )


def planes(own: Boards, other: Boards) -> NDArray[np.float32]:
    """Return [E, 5 * B] what is known of each place.

    There is an own piece, one of the other; the next piece in this column goes there; a piece there would
    complete an own line, one of the other.
    """
    places, empty = 1 << PLACES, ~(own | other)[:, None]
    parts = [
        own[:, None] & places,
        other[:, None] & places,
        free_places(own, other).sum(1)[:, None] & places,
        empty & places * wins(own[:, None] | places),
        empty & places * wins(other[:, None] | places),
    ]
    return (np.concatenate(parts, 1) != 0).astype(np.float32)


def allowed(own: Boards, other: Boards) -> NDArray[np.bool_]:
    """Return [E, C] which columns have room."""
    return ((own | other)[:, None] & TOP) == 0


def free_places(own: Boards, other: Boards) -> Boards:
    """Return [E, C] the lowest free place of each column; 0 where there is none.

    Adding one at the bottom of a column carries over its pieces to that place.
    """
    places: Boards = ((own | other)[:, None] + BOTTOM) & (BOTTOM * 63)
    return places


def wins(boards: Boards) -> NDArray[np.bool_]:
    """Tell where four pieces are in a line: upright, level, or in either diagonal."""
    found = np.zeros(boards.shape, np.bool_)
    for step in (1, 7, 6, 8):
        pairs = boards & (boards >> step)
        found |= (pairs & (pairs >> 2 * step)) != 0
    return found


# -- players ------------------------------------------------------------------------------------------


Player = Callable[[Boards, Boards], NDArray[np.intp]]
"""Takes own and other pieces [E] and returns columns [E]."""


def random_player(rng: np.random.Generator) -> Player:
    """Move anywhere."""
    return lambda own, other: drawn(rng, allowed(own, other))


def lookahead_player(rng: np.random.Generator) -> Player:
    """Win with this move if that is possible, else where the other would with the next, else anywhere."""

    def choose(own: Boards, other: Boards) -> NDArray[np.intp]:
        may = allowed(own, other)
        places = free_places(own, other)
        wanted = may.copy()
        for pieces_of in (other, own):
            decides = may & wins(pieces_of[:, None] | places)
            wanted = np.where(decides.any(1, keepdims=True), decides, wanted)
        return drawn(rng, wanted)

    return choose


def policy_player(policy: Policy) -> Player:
    """Move where the policy thinks it is best."""

    @torch.no_grad()
    def choose(own: Boards, other: Boards) -> NDArray[np.intp]:
        mask = allowed(own, other).astype(np.int8)
        board = torch.from_numpy(planes(own, other))
        logits, _ = policy({"/board": board, "/action_mask": torch.from_numpy(mask)})
        return logits.argmax(1).numpy()

    return choose


def drawn(rng: np.random.Generator, wanted: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Draw one of the wanted columns for each game."""
    column: NDArray[np.intp] = (rng.random(wanted.shape) * wanted).argmax(1)
    return column


def play(player: Player, opponent: Player, num_games: int) -> NDArray[np.float32]:
    """Return [E] 1 where the player wins, 0 for a draw, -1; it begins in the first half of the games."""
    vector = ConnectFour(num_games)
    seat = (np.arange(num_games) >= num_games // 2).astype(np.intp)
    results = np.zeros(num_games, np.float32)
    goes_on = np.ones(num_games, np.bool_)
    vector.reset(range(num_games))
    while goes_on.any():
        is_players = vector.turn == seat
        columns = np.where(is_players, player(*vector.to_move), opponent(*vector.to_move))
        step = vector.step([{"": np.repeat(columns[:, None], 2, 1)}])
        ended = goes_on & step.over
        results[ended] = step.rewards[np.arange(num_games), seat][ended]
        goes_on &= ~step.over
    return results


def report(policy: Policy, num_games: int, seed: int) -> str:
    """Play simple players and say how often the policy won."""
    lines = []
    for name, make in (("a random player", random_player), ("a one-step lookahead", lookahead_player)):
        results = play(policy_player(policy), make(np.random.default_rng(seed)), num_games)
        first, second = np.split(results, [num_games // 2])
        lines.append(
            f"won {(results > 0).mean():6.1%} of {num_games:,} games against {name}, "
            f"{(results == 0).mean():.1%} drawn; {(first > 0).mean():.1%} where it began, "
            f"{(second > 0).mean():.1%} where the other did"
        )
    return "\n".join(lines)


# -- training -----------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--num-envs", type=int, default=128)
    parser.add_argument("--num-steps", type=int, default=64)
    parser.add_argument("--self-play-share", type=float, default=0.5)
    parser.add_argument("--num-games", type=int, default=1000, help="against each simple player at the end")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    config = (
        PPOConfig()
        .environment(ConnectFour, env_config={"most_random_moves": 4})
        .multi_agent(policies=["main"])
        .env_runners(
            num_envs_per_env_runner=given.num_envs,
            gym_env_vectorize_mode=VectorizeMode.VECTOR_ENTRY_POINT,
        )
        .rl_module(fcnet_hiddens=(128, 128), fcnet_activation="relu")
        .training(
            train_batch_size_per_learner=given.num_steps * given.num_envs,
            minibatch_size=1024,
            num_epochs=4,
            lr=1e-3,
            gamma=0.99,
            lambda_=0.9,
            entropy_coeff=0.03,
        )
        .debugging(seed=given.seed)
    )
    started = time.perf_counter()
    with config.build() as algorithm:
        league = League(
            algorithm, LeagueSettings(snapshot_interval=10, self_play_share=given.self_play_share)
        )
        for iteration in range(1, given.iterations + 1):
            result = league.update(algorithm.train())
            if iteration % 10 == 0 or iteration == given.iterations:
                print(
                    f"{time.perf_counter() - started:5.0f} s  {result['num_env_steps']:>9,} moves  "
                    f"{result['league/num_snapshots']:2} snapshots  "
                    f"Elo {result['league/main/elo']:5.0f}  "
                    f"wins {result.get('league/main/win_rate', float('nan')):.0%} of the league's games",
                    flush=True,
                )
        print(report(algorithm.policies["main"], given.num_games, given.seed))


if __name__ == "__main__":
    main()
