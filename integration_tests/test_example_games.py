"""The games of the examples are the games that they say, compared with slow and plain ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def loaded(name: str) -> ModuleType:
    """Import an example, which is in no package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def four() -> ModuleType:
    return loaded("connect_four")


class PlainConnectFour:
    """One game as one would play it at a table: columns are lists of pieces, 0 for who began."""

    def __init__(self) -> None:
        self.columns: list[list[int]] = [[] for _ in range(7)]
        self.turn = 0

    def allowed(self) -> list[int]:
        return [column for column in range(7) if len(self.columns[column]) < 6]

    def move(self, column: int) -> float | None:
        """Return what the mover gets where the game is over: 1 for four in a line, 0 for a full board."""
        self.columns[column].append(self.turn)
        self.turn = 1 - self.turn
        if self.has_line(1 - self.turn):
            return 1.0
        return 0.0 if not self.allowed() else None

    def has_line(self, player: int) -> bool:
        directions = ((1, 0), (0, 1), (1, 1), (1, -1))
        return any(
            all(self.piece(x + n * dx, y + n * dy) == player for n in range(4))
            for x in range(7)
            for y in range(6)
            for dx, dy in directions
        )

    def piece(self, x: int, y: int) -> int | None:
        inside = 0 <= x < 7 and 0 <= y < len(self.columns[x])
        return self.columns[x][y] if inside else None

    def observed(self) -> list[float]:
        """Return five planes, column by column from below, from the side of who moves next."""
        places, players = [(x, y) for x in range(7) for y in range(6)], (self.turn, 1 - self.turn)
        found = [self.piece(x, y) == player for player in players for x, y in places]
        found += [y == len(self.columns[x]) for x, y in places]
        found += [self.would_complete(x, y, player) for player in players for x, y in places]
        return [float(each) for each in found]

    def would_complete(self, x: int, y: int, player: int) -> bool:
        """Tell whether a piece at an empty place, whatever is below it, would make four in a line."""
        if self.piece(x, y) is not None:
            return False
        for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)):
            length = 1
            for sign in (1, -1):
                n = 1
                while self.piece(x + sign * n * dx, y + sign * n * dy) == player:
                    n += 1
                length += n - 1
            if length >= 4:
                return True
        return False


def test_connect_four_is_played_by_its_rules(four: ModuleType) -> None:
    rng = np.random.default_rng(0)
    num_games = 20
    vector = four.ConnectFour(num_games)
    step, plain = vector.reset(range(num_games)), [PlainConnectFour() for _ in range(num_games)]
    num_over = 0
    for _ in range(150):
        columns = np.zeros((num_games, 2), np.int64)
        expected = np.zeros((num_games, 2), np.float32)
        over = np.zeros(num_games, np.bool_)
        for index, game in enumerate(plain):
            mover, other = game.turn, 1 - game.turn
            assert step.acting[index].tolist() == [mover == 0, mover == 1]
            assert step.observations[0]["/board"][index, mover].tolist() == game.observed()
            assert (
                np.flatnonzero(step.observations[0]["/action_mask"][index, mover]).tolist() == game.allowed()
            )
            columns[index, mover] = rng.choice(game.allowed())
            gained = game.move(int(columns[index, mover]))
            if gained is not None:
                over[index] = True
                expected[index, mover], expected[index, other] = gained, -gained
                plain[index] = PlainConnectFour()
        step = vector.step([{"": columns}])
        assert np.array_equal(step.over, over)
        assert np.array_equal(step.rewards, expected)
        assert np.array_equal(step.terminated, np.repeat(over[:, None], 2, 1))
        assert not step.truncated.any()
        num_over += int(over.sum())
    assert num_over > 60


def test_a_full_board_is_a_draw(four: ModuleType) -> None:
    vector, plain = four.ConnectFour(1), PlainConnectFour()
    vector.reset([0])
    for column in map(int, "361662304042002201535131426530361264155544"):
        step, gained = vector.step([{"": np.full((1, 2), column)}]), plain.move(column)
        assert step.over.tolist() == [gained is not None]
    assert gained == 0
    assert not step.rewards.any()


@pytest.mark.parametrize("most_random_moves", [0, 6])
def test_connect_four_goes_on_from_its_state(four: ModuleType, most_random_moves: int) -> None:
    before, after = (four.ConnectFour(1, most_random_moves) for _ in range(2))
    before.reset([0])
    before.step([{"": np.array([[3, 3]])}])
    after.set_state(before.get_state())
    for _ in range(40):  # several games
        shown = [each.step([{"": np.array([[0, 3]])}]).observations[0]["/board"] for each in (before, after)]
        assert np.array_equal(*shown)


def test_games_may_begin_after_some_random_moves(four: ModuleType) -> None:
    vector = four.ConnectFour(500, most_random_moves=6)
    boards = vector.reset([7] * 500).observations[0]["/board"][:, :, :84].sum((1, 2))
    assert set(boards.tolist()) == set(range(7))
    assert np.array_equal(vector.turn, boards % 2)
    again = four.ConnectFour(500, most_random_moves=6).reset([7] * 500)
    assert np.array_equal(again.observations[0]["/board"][:, :, :84].sum((1, 2)), boards)


def bits(*places: tuple[int, int]) -> NDArray[np.int64]:
    """Return a board with pieces at (column, row)."""
    return np.array([sum(1 << 7 * x + y for x, y in places)], np.int64)


def test_the_lookahead_wins_where_it_can_and_blocks_where_it_must(four: ModuleType) -> None:
    choose = four.lookahead_player(np.random.default_rng(0))
    three, others_three = bits((0, 0), (1, 0), (2, 0)), bits((6, 0), (6, 1), (6, 2))
    assert choose(three, others_three).tolist() == [3]
    assert choose(bits((0, 0)), others_three).tolist() == [6]
    anywhere = {int(choose(bits((0, 0)), bits((6, 0)))[0]) for _ in range(200)}
    assert anywhere == set(range(7))


def test_a_full_column_is_not_chosen_even_where_it_would_win(four: ModuleType) -> None:
    # Three in column 0 on top of three others: the seventh place does not exist.
    own, other = bits((0, 3), (0, 4), (0, 5)), bits((0, 0), (0, 1), (0, 2))
    chosen = {int(four.lookahead_player(np.random.default_rng(seed))(own, other)[0]) for seed in range(50)}
    assert chosen == set(range(1, 7))


def test_the_player_begins_half_of_the_games(four: ModuleType) -> None:
    results = four.play(*[lambda own, other: four.allowed(own, other).argmax(1)] * 2, num_games=10)
    # Both fill column by column from the left: who begins completes a line first.
    assert results.tolist() == [1.0] * 5 + [-1.0] * 5


def test_looking_ahead_beats_moving_anywhere(four: ModuleType) -> None:
    lookahead, anywhere = (
        make(np.random.default_rng(seed))
        for seed, make in enumerate((four.lookahead_player, four.random_player))
    )
    assert four.play(lookahead, anywhere, 200).mean() > 0.6


@pytest.fixture(scope="module")
def signs() -> ModuleType:
    return loaded("rock_paper_scissors")


def test_rock_paper_scissors_is_played_by_its_rules(signs: ModuleType) -> None:
    vector = signs.RockPaperScissors(9, wins=(1, 2, 3))
    assert not vector.reset(range(9)).over.any()
    left, right = np.divmod(np.arange(9), 3)
    step = vector.step([{"": np.stack([left, right], 1)}])
    assert step.rewards[:, 0].reshape(3, 3).tolist() == [[0, -2, 1], [2, 0, -3], [-1, 3, 0]]
    assert (step.rewards.sum(1) == 0).all()
    assert step.over.all()
    assert step.terminated.all()
    assert step.acting.all(), "the next round begins in the same step"


@pytest.mark.parametrize(
    ("wins", "shares", "gain"),
    [
        ((1, 1, 1), (1 / 3, 1 / 3, 1 / 3), 0.0),
        ((1, 2, 3), (3 / 6, 1 / 6, 2 / 6), 0.0),
        ((1, 2, 3), (1.0, 0.0, 0.0), 2.0),
        ((1, 1, 1), (0.5, 0.5, 0.0), 0.5),
    ],
)
def test_only_the_best_shares_cannot_be_exploited(
    signs: ModuleType, wins: tuple[float, ...], shares: tuple[float, ...], gain: float
) -> None:
    assert signs.exploitability(np.array(shares), wins) == pytest.approx(gain, abs=1e-6)
