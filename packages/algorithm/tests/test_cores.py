from __future__ import annotations

from pathlib import Path

from outrider.algorithm.loops.cores import BusyCores


def test_cores_are_busy_for_the_share_of_ticks_in_which_they_did_not_rest(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n")
    cores = BusyCores(stat)
    stat.write_text("cpu  140 0 120 730 110 0 0 0 0 0\n")
    assert cores.share() == 0.6
    assert cores.share() is None  # no tick since


def test_a_system_that_does_not_count_its_ticks_says_nothing(tmp_path: Path) -> None:
    assert BusyCores(tmp_path / "missing").share() is None
