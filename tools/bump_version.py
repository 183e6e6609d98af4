"""Give one package a new version, with its changelog and the ranges of siblings that would refuse it.

    python tools/bump_version.py wire minor
    python tools/bump_version.py wire 0.3.0

The package's changelog must have a section "## Unreleased" with text; it becomes the new version's.
Nothing is written unless everything can be.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from workspace import Package, read_packages


def bump(root: Path, part: str, change: str) -> list[Path]:
    """Write the new version of packages/`part` and return the files that changed, relative to `root`."""
    packages = read_packages(root)
    package = next((package for package in packages.values() if package.part == part), None)
    if package is None:
        parts = ", ".join(package.part for package in packages.values())
        message = f"there is no packages/{part}; name one of {parts}"
        raise ValueError(message)
    version = next_version(package.version, change)
    if version <= package.version:
        message = (
            f"{version} does not follow {package.version}; name a larger version, or major, minor or patch"
        )
        raise ValueError(message)

    edits = {package.folder / "pyproject.toml": _with_version(package, version)}
    edits[package.folder / "CHANGELOG.md"] = _with_release(package, version)
    for sibling in packages.values():
        file = sibling.folder / "pyproject.toml"
        before = edits.get(file, file.read_text())
        after = with_range(before, package.name, version)
        if after != before:
            edits[file] = after
    for file, text in edits.items():
        file.write_text(text)
    return sorted(file.relative_to(root) for file in edits)


def next_version(version: Version, change: str) -> Version:
    """Return what follows `version` by `change`: "major", "minor", "patch", or the version itself."""
    major, minor, patch = version.release
    steps = {
        "major": f"{major + 1}.0.0",
        "minor": f"{major}.{minor + 1}.0",
        "patch": f"{major}.{minor}.{patch + 1}",
    }
    try:
        return Version(steps.get(change, change))
    except InvalidVersion:
        message = f"{change!r} is no version; write major, minor, patch, or three numbers such as 0.3.0"
        raise ValueError(message) from None


def compatible_range(version: Version) -> str:
    """Return the range that a sibling declares: up to the next minor before 1.0, to the next major after it.

    >>> compatible_range(Version("0.3.2")), compatible_range(Version("1.4.0"))
    ('>=0.3,<0.4', '>=1.4,<2')
    """
    end = f"<0.{version.minor + 1}" if version.major == 0 else f"<{version.major + 1}"
    return f">={version.major}.{version.minor},{end}"


def with_range(pyproject: str, name: str, version: Version) -> str:
    """Return `pyproject` with the requirements of `name` that refuse `version` moved to its range."""

    def moved(quoted: re.Match[str]) -> str:
        requirement = Requirement(quoted[1])
        if canonicalize_name(requirement.name) != name or version in requirement.specifier:
            return quoted[0]
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        return f'"{name}{extras}{compatible_range(version)}"'

    return re.sub(rf'"({re.escape(name)}(?:\[[^\]"]*\])?\s*[<>=~!][^"]*)"', moved, pyproject)


def _with_version(package: Package, version: Version) -> str:
    text = (package.folder / "pyproject.toml").read_text()
    return text.replace(f'\nversion = "{package.version}"\n', f'\nversion = "{version}"\n', 1)


def _with_release(package: Package, version: Version) -> str:
    text = (package.folder / "CHANGELOG.md").read_text()
    section = re.search(r"^## Unreleased\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        message = (
            f"packages/{package.part}/CHANGELOG.md says nothing under '## Unreleased'; "
            "write there what changes for users, then bump"
        )
        raise ValueError(message)
    return text.replace("## Unreleased\n", f"## {version}\n", 1)


def main() -> int:
    """Bump the package that the command line names."""
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    try:
        changed = bump(Path(__file__).resolve().parents[1], sys.argv[1], sys.argv[2])
    except ValueError as refusal:
        print(refusal, file=sys.stderr)
        return 1
    print("changed:", *changed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
