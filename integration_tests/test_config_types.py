"""The type checker knows every setting of a configuration, as editors do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
from dataclasses import dataclass, field
from outrider.algorithm.settings.section import Section

@dataclass(frozen=True, kw_only=True, slots=True)
class Runners:
    where: str = field(kw_only=False)
    num_env_runners: int = 0

class Config:
    runners = Section(Runners)

reveal_type(Config().runners("here", num_env_runners=1).runners)
reveal_type(Config.runners.of(Config()).num_env_runners)
Config().runners("here", num_env_runnerz=1)
Config().runners("here", num_env_runners="1")
"""


def test_settings_are_checked_like_the_arguments_of_a_function(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    said = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT).stdout
    assert 'type is "def (where: str, *, num_env_runners: int =) -> program.Config"' in said
    assert 'type is "int"' in said
    assert 'Unexpected keyword argument "num_env_runnerz"' in said
    assert 'has incompatible type "str"; expected "int"' in said
    assert "Found 2 errors" in said
