"""A workspace of two packages, small enough to see at a glance, that the layout check has nothing against."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROOT_PYPROJECT = """
[tool.mypy]
packages = ["outrider.brain", "outrider.nerve"]
mypy_path = ["$MYPY_CONFIG_FILE_DIR/packages/brain/src", "$MYPY_CONFIG_FILE_DIR/packages/nerve/src"]

[tool.importlinter]
root_packages = ["outrider.brain", "outrider.nerve"]

[[tool.hatch.envs.alone.matrix]]
package = ["brain", "nerve"]
"""

BRAIN_DEPENDENCIES = '"numpy>=1.26", "outrider-nerve[fast]>=0.3,<0.4"'
NERVE_DEPENDENCIES = '"numpy>=2.0", "protobuf>=4.25.3"'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Write `outrider-brain` 1.0.0, which needs `outrider-nerve` 0.3.0."""
    (tmp_path / "pyproject.toml").write_text(ROOT_PYPROJECT)
    write_package(tmp_path, "brain", "1.0.0", BRAIN_DEPENDENCIES)
    write_package(tmp_path, "nerve", "0.3.0", NERVE_DEPENDENCIES)
    (tmp_path / "packages/brain/src/outrider/brain/__init__.py").write_text(
        "import outrider.nerve\nimport numpy\n"
    )
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def write_package(root: Path, part: str, version: str, dependencies: str) -> None:
    folder = root / "packages" / part
    module = folder / "src" / "outrider" / part
    module.mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "outrider-{part}"\nversion = "{version}"\ndependencies = [{dependencies}]\n\n'
        '[project.optional-dependencies]\nfast = ["cython>=3"]\n\n[dependency-groups]\ntest = ["pytest"]\n',
    )
    (folder / "README.md").write_text(f"# outrider-{part}\n")
    (folder / "CHANGELOG.md").write_text(
        f"# Changes\n\n## Unreleased\n\nSomething.\n\n## {version}\n\nFirst.\n"
    )
    (module / "__init__.py").write_text("")
    (module / "py.typed").write_text("")
    (folder / "tests" / f"test_{part}.py").write_text("import pytest\n")
