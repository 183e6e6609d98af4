"""Keep what the next releases are tested against: the wheels of a farm and a trainer, and the protos' image.

    python tools/keep_release.py              of the last commit
    python tools/keep_release.py wire-0.2.0   of another one, by its tag or hash

Writes integration_tests/released/VERSION/*.whl, where VERSION is that of `outrider`, the distribution that
depends on the others, and proto/released/v1.binpb, which `buf breaking` compares with. Nothing is taken
from files that are not committed.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from build_wheels import build_wheels
from workspace import read_packages

ROOT = Path(__file__).resolve().parents[1]
RELEASED = Path("integration_tests/released")
IMAGE = Path("proto/released/v1.binpb")
KEPT = ("wire", "transport", "envrunner", "rlmodule", "learner", "algorithm")
"""What a farm and a trainer need."""


def keep_release(root: Path, commit: str = "HEAD") -> list[Path]:
    """Keep the release that `commit` of `root` is, and return the files written, relative to `root`.

    Raises ValueError where that version is kept already: what is released does not change.
    """
    with tempfile.TemporaryDirectory() as directory:
        checkout = Path(directory)
        _check_out(root, commit, checkout)
        packages = {package.part: package for package in read_packages(checkout).values()}
        version = packages["outrider"].version
        folder = root / RELEASED / str(version)
        if folder.exists():
            message = (
                f"{RELEASED / str(version)} is there already, and a release does not change; "
                "give packages/outrider the next version with tools/bump_version.py, commit, and keep that"
            )
            raise ValueError(message)
        wheels = build_wheels([packages[part] for part in KEPT if part in packages], folder)
        write_image(checkout / "proto", root / IMAGE)
    return [*(wheel.relative_to(root) for wheel in wheels), IMAGE]


def write_image(protos: Path, image: Path) -> None:
    """Write the protos of a folder as one file, without comments."""
    image.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["buf", "build", str(protos), "--exclude-source-info", "-o", str(image)], check=True)


def _check_out(root: Path, commit: str, folder: Path) -> None:
    archive = subprocess.run(
        ["git", "archive", "--format=zip", commit], cwd=root, check=False, capture_output=True
    )
    if archive.returncode != 0:
        message = f"git knows no commit {commit!r}; name a tag or a hash, or nothing for the last one"
        raise ValueError(message)
    with zipfile.ZipFile(io.BytesIO(archive.stdout)) as files:
        files.extractall(folder)


def main() -> int:
    """Keep the release that the command line names."""
    if len(sys.argv) > 2:
        print(__doc__)
        return 2
    try:
        kept = keep_release(ROOT, *sys.argv[1:])
    except ValueError as refusal:
        print(refusal, file=sys.stderr)
        return 1
    print("kept:", *kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
