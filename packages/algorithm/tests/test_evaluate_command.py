"""What `outrider evaluate` does first: what it may refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, Self

import pytest

from outrider.algorithm import Algorithm
from outrider.algorithm.commands import evaluate_command


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
