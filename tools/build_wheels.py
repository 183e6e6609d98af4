"""Build the wheel of every package into dist/wheels, which holds nothing else afterwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from workspace import read_packages

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "dist" / "wheels"


def main() -> int:
    """Build them all with the hatchling of this environment."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    folders = [str(package.folder) for package in read_packages(ROOT).values()]
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(WHEELS)]
    return subprocess.run([sys.executable, *build, *folders], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
