"""Install every package as editable again, as its pyproject.toml is now.

Hatch makes an environment anew when its own dependencies change, and not when a package gets another
command or another dependency: an environment that was kept starts commands that are gone. Where an
installation was killed in one that is kept, pip refuses to install over what is left of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from workspace import read_packages

ROOT = Path(__file__).resolve().parents[1]


def clear_halves(folder: Path) -> None:
    """Remove what a killed installation of ours left in `folder`, where packages are installed.

    That is what pip had set aside under a name with "~", whose commands count a second time, and what has
    no list of its files yet, without which pip can neither remove nor replace it.
    """
    for left in [*folder.glob("~utrider*"), *folder.glob("outrider*.dist-info")]:
        if left.name.startswith("~") or not (left / "RECORD").exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def main() -> int:
    """Install them into the environment of this Python, with its own hatchling: four seconds for all."""
    clear_halves(Path(sysconfig.get_path("purelib")))
    editables = [f"--editable={package.folder}" for package in read_packages(ROOT).values()]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation"]
    return subprocess.call([*pip, *editables])


if __name__ == "__main__":
    sys.exit(main())
