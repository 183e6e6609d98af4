"""Which cells the matrix has, and what becomes of one that fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prove_matrix import cells, prove_all


def test_the_cells_are_those_of_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.hatch.envs.alone.matrix]]\nversions = ["newest"]\npackage = ["brain", "nerve"]\n'
        '[[tool.hatch.envs.alone.matrix]]\nversions = ["lowest"]\npackage = ["nerve"]\n'
    )
    assert cells(tmp_path) == ["newest-brain", "newest-nerve", "lowest-nerve"]


def test_a_cell_that_fails_is_named_and_the_others_are_proven_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    proven = []

    def prove(name: str) -> subprocess.CompletedProcess[str]:
        proven.append(name)
        return subprocess.CompletedProcess(
            [], returncode=int(name == "newest-nerve"), stdout=f"words of {name}"
        )

    assert prove_all(["newest-brain", "newest-nerve", "lowest-nerve"], prove) == ["newest-nerve"]
    assert set(proven) == {"newest-brain", "newest-nerve", "lowest-nerve"}
    said = capsys.readouterr().out
    assert "alone newest-nerve: FAILED with 1" in said
    assert "words of lowest-nerve" in said
