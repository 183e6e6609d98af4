"""Which cells the matrix has."""

from __future__ import annotations

from pathlib import Path

from prove_matrix import cells


def test_the_cells_are_those_of_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.hatch.envs.alone.matrix]]\nversions = ["newest"]\npackage = ["brain", "nerve"]\n'
        '[[tool.hatch.envs.alone.matrix]]\nversions = ["lowest"]\npackage = ["nerve"]\n'
    )
    assert cells(tmp_path) == ["newest-brain", "newest-nerve", "lowest-nerve"]
