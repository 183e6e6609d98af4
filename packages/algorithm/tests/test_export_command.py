"""What `outrider export` refuses, before it makes any policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from outrider.algorithm import Algorithm, CheckpointError
from outrider.algorithm.commands import export_command
from outrider.algorithm.saved.checkpoint import write_checkpoint

POLICIES = [{"name": "red"}, {"name": "blue"}]


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        (["--policy", "rad"], "there is no policy 'rad'; did you mean red"),
        ([], "has policies by name; say which one, such as --policy red"),
    ],
)
def test_a_policy_that_there_is_not_is_refused_before_any_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], refusal: str
) -> None:
    def make(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("policies were made")

    monkeypatch.setattr(Algorithm, "from_checkpoint", make)
    path = write_checkpoint(tmp_path / "checkpoint", {"policies": {"book": {"policies": POLICIES}}})
    with pytest.raises(CheckpointError, match=refusal):
        export_command.run([str(path), *flags])
