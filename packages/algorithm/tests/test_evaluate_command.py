"""What `outrider evaluate` does first: what it may refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, Self

import pytest

from outrider.algorithm import Algorithm
from outrider.algorithm.commands import evaluate_command


class Played:
    """An algorithm that remembers how it was evaluated."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def evaluate(self, _: int | None, **given: Any) -> dict[str, Any]:
        self.given = given
        shown = {f"episode_return_{name}": 0.0 for name in ("mean", "std", "min", "max")}
        return {**shown, "episode_length_mean": 1.0, "num_episodes": 1}


@pytest.mark.parametrize(("flags", "explores"), [([], False), (["--explore"], True)])
def test_actions_are_drawn_where_the_flag_says_so(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], explores: bool
) -> None:
    played = Played()
    monkeypatch.setattr("outrider.algorithm.saved.run_directory.checkpoint_at", Path)
    monkeypatch.setattr(Algorithm, "from_checkpoint", lambda *_, **__: played)
    evaluate_command.run(["run", *flags])
    assert played.given["explore"] is explores


def test_a_film_of_drawn_actions_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate_command.run(["run", "--explore", "--video", "film.mp4"])
    assert "leave out --explore" in capsys.readouterr().err


class NotFilmed:
    """An algorithm of several agents."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def evaluate(self, *_: Any, **__: Any) -> NoReturn:
        raise AssertionError("episodes were played")

    def record_video(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError("episodes of several agents cannot be filmed yet")


def test_a_film_that_cannot_be_is_refused_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outrider.algorithm.saved.run_directory.checkpoint_at", Path)
    monkeypatch.setattr(Algorithm, "from_checkpoint", lambda *_, **__: NotFilmed())
    monkeypatch.setattr("outrider.envrunner.sampling.film.Film", lambda _: None)  # needs an extra
    with pytest.raises(ValueError, match="several agents cannot be filmed yet"):
        evaluate_command.run(["run", "--video", str(tmp_path / "film.mp4")])
