"""What a killed installation leaves in an environment does not stand in the way of the next one."""

from __future__ import annotations

from pathlib import Path

from install_packages import clear_halves


def test_what_is_half_installed_or_set_aside_is_removed_and_all_else_stays(tmp_path: Path) -> None:
    for name in ("outrider_wire-1.dist-info", "~utrider_wire-1.dist-info", "other-1.dist-info"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "METADATA").touch()
    whole = tmp_path / "outrider_learner-1.dist-info"
    whole.mkdir()
    (whole / "RECORD").touch()
    (tmp_path / "~utrider_wire.pth").touch()
    clear_halves(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, "other-1.dist-info"}
    assert (whole / "RECORD").exists()
