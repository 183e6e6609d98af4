"""The packages of this workspace as their pyproject.toml files describe them. Reads only."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One folder under packages/."""

    part: str
    """The folder's name: "wire" for outrider-wire."""
    folder: Path
    name: str
    """The distribution's name."""
    version: Version
    dependencies: tuple[Requirement, ...]
    """What an installation always brings."""
    extras: dict[str, tuple[Requirement, ...]]
    """What an installation brings when asked."""
    groups: dict[str, tuple[Requirement, ...]]
    """What only work on the package needs: "test" for its unit tests."""

    @property
    def has_modules(self) -> bool:
        """False for the package that only depends on others."""
        return (self.folder / "src").is_dir()

    @property
    def module(self) -> str:
        """The import name."""
        return f"outrider.{self.part}"

    @property
    def sources(self) -> Path:
        """The folder of the import package."""
        return self.folder / "src" / "outrider" / self.part


def read_packages(root: Path) -> dict[str, Package]:
    """Return all packages under `root`/packages by distribution name, in order of their folders."""
    files = sorted(root.glob("packages/*/pyproject.toml"))
    packages = [_read_package(file) for file in files]
    return {package.name: package for package in packages}


def siblings(package: Package, packages: dict[str, Package]) -> list[Package]:
    """Return what `package` needs of the workspace, directly or through another, without itself."""
    found: dict[str, Package] = {}
    waiting = [package]
    while waiting:
        for requirement in waiting.pop().dependencies:
            sibling = packages.get(canonicalize_name(requirement.name))
            if sibling is not None and sibling.name not in found:
                found[sibling.name] = sibling
                waiting.append(sibling)
    return [found[name] for name in sorted(found)]


def brought_by_extras(package: Package, packages: dict[str, Package]) -> set[str]:
    """Return the distributions that the extras of `package` bring, directly or as extras of siblings."""
    found: set[str] = set()
    waiting = [requirement for extra in package.extras.values() for requirement in extra]
    while waiting:
        requirement = waiting.pop()
        name = str(canonicalize_name(requirement.name))
        found.add(name)
        sibling = packages.get(name)
        if sibling is not None and sibling is not package:
            waiting += [wanted for extra in requirement.extras for wanted in sibling.extras[extra]]
    return found


def _read_package(file: Path) -> Package:
    described: dict[str, Any] = tomllib.loads(file.read_text())
    project = described["project"]
    return Package(
        part=file.parent.name,
        folder=file.parent,
        name=canonicalize_name(project["name"]),
        version=Version(project["version"]),
        dependencies=_requirements(project.get("dependencies", [])),
        extras={
            extra: _requirements(lines) for extra, lines in project.get("optional-dependencies", {}).items()
        },
        groups={
            group: _requirements(lines) for group, lines in described.get("dependency-groups", {}).items()
        },
    )


def _requirements(lines: list[str]) -> tuple[Requirement, ...]:
    return tuple(Requirement(line) for line in lines)
