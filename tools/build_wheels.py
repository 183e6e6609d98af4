"""Build the wheel of every package into dist/wheels, or the folder that is named, and nothing else there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from workspace import Package, read_packages

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "dist" / "wheels"


def build_wheels(packages: Iterable[Package], folder: Path) -> list[Path]:
    """Build them into `folder`, with the hatchling of this environment: half a second for all."""
    artifacts = [
        artifact
        for package in packages
        for artifact in WheelBuilder(str(package.folder)).build(directory=str(folder), versions=["standard"])
    ]
    return [Path(artifact) for artifact in artifacts]


def main() -> int:
    """Build them all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else WHEELS
    shutil.rmtree(folder, ignore_errors=True)
    for wheel in build_wheels(read_packages(ROOT).values(), folder):
        print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
