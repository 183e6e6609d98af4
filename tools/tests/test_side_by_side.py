"""What becomes of a script that fails beside others."""

from __future__ import annotations

import subprocess
import threading

import pytest

from side_by_side import run_side_by_side


def test_a_script_that_fails_is_named_and_the_others_run_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], returncode=int(name == "types"), stdout=f"words of {name}")

    assert run_side_by_side(["lint", "types", "unit"], run, 2) == ["types"]
    said = capsys.readouterr().out
    assert "types: FAILED with 1" in said
    assert all(f"words of {name}" in said for name in ("lint", "types", "unit"))


def test_so_many_run_at_the_same_time() -> None:
    both = threading.Barrier(2)

    def run(name: str) -> subprocess.CompletedProcess[str]:
        both.wait(10)
        return subprocess.CompletedProcess([], returncode=0, stdout="")

    assert run_side_by_side(["types", "unit"], run, 2) == []
