"""Check what makes the packages one workspace: files, lists, version ranges, declared imports, tracked paths.

Prints one sentence with the cure per finding and exits with 1 if there is any.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workspace import Package, read_packages

# Where a distribution is not called like what is imported from it.
DISTRIBUTION_OF_IMPORT = {
    "Box2D": "box2d",
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_tools": "grpcio-tools",
    "yaml": "pyyaml",
}

# What a part does without, unless asked, is imported by files whose names begin so.
KNOWN_BY_FILES_THAT_SAY_SO = {"ray": ("Ray", "ray_"), "grpcio": ("gRPC", "grpc_")}

# Not preceded by what makes it a part of a longer path or of an address.
MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:home|root|tmp|work|Users)/[\w.]")

BINARY_SUFFIXES = {".png", ".gif", ".mp4", ".npz", ".npy", ".onnx", ".bin", ".binpb", ".pb", ".whl"}


def findings(root: Path) -> list[str]:
    """Return every finding in the workspace at `root`, one sentence each."""
    workspace: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())
    packages = read_packages(root)
    found: list[str] = []
    for package in packages.values():
        found += missing_files(package)
        found += missing_from_lists(package, workspace)
        found += unsatisfied_ranges(package, packages)
        found += undeclared_imports(package)
        found += known_elsewhere(package)
        found += changelog_behind(package)
    found += machine_paths(root, tracked_files(root))
    return found


def missing_files(package: Package) -> Iterator[str]:
    """Find a namespace `__init__.py` and the absence of what every package has."""
    stray = package.folder / "src" / "outrider" / "__init__.py"
    if stray.exists():
        yield f"{_shown(stray, package)} hides every sibling package: delete it, `outrider` is a namespace."
    expected = [package.folder / "README.md", package.folder / "CHANGELOG.md"]
    if package.has_modules:
        expected += [package.sources / "py.typed", package.sources / "__init__.py"]
    if not any((package.folder / "tests").glob("**/test_*.py")):
        yield f"packages/{package.part}/tests holds no test: write test_<subject>.py there."
    for file in expected:
        if not file.exists():
            yield f"{_shown(file, package)} is missing: every package has one, add it."


def missing_from_lists(package: Package, workspace: dict[str, Any]) -> Iterator[str]:
    """Find a package that mypy, import-linter or the matrix passes by, for they all want names."""
    tool = workspace["tool"]
    lists: dict[str, list[str]] = {}
    matrix = [row["package"] for row in tool["hatch"]["envs"]["alone"]["matrix"]]
    wanted = {"tool.hatch.envs.alone.matrix": package.part}
    lists["tool.hatch.envs.alone.matrix"] = [part for parts in matrix for part in parts]
    if package.has_modules:
        wanted |= {
            "tool.mypy.packages": package.module,
            "tool.mypy.mypy_path": f"$MYPY_CONFIG_FILE_DIR/packages/{package.part}/src",
            "tool.importlinter.root_packages": package.module,
        }
        lists |= {
            "tool.mypy.packages": tool["mypy"]["packages"],
            "tool.mypy.mypy_path": tool["mypy"]["mypy_path"],
            "tool.importlinter.root_packages": tool["importlinter"]["root_packages"],
        }
    for where, entry in wanted.items():
        if entry not in lists[where]:
            yield f"{package.name} is not in {where} of pyproject.toml: add {entry!r}, or nobody checks it."


def unsatisfied_ranges(package: Package, packages: dict[str, Package]) -> Iterator[str]:
    """Find a range for a sibling that the sibling's present version does not satisfy, or that has no end."""
    for requirement in _all_requirements(package):
        sibling = packages.get(canonicalize_name(requirement.name))
        if sibling is None or sibling is package:
            continue
        if not requirement.specifier.contains(sibling.version, prereleases=True):
            yield (
                f"{package.name} requires {requirement}, but {sibling.name} is at {sibling.version}: "
                f"change the range in packages/{package.part}/pyproject.toml."
            )
        elif not any(limit.operator in {"<", "<=", "==", "~="} for limit in requirement.specifier):
            yield (
                f"{package.name} requires {requirement} without an upper end: "
                f"add the first version that may be incompatible, such as <{sibling.version.major + 1}."
            )


def undeclared_imports(package: Package) -> Iterator[str]:
    """Find imports of distributions that the package's pyproject.toml does not declare."""
    shipped = {package.name} | _names(package.dependencies)
    for requirements in package.extras.values():
        shipped |= _names(requirements)
    tested = shipped | _names(package.groups.get("test", ()))
    places = [
        ("src", shipped, "dependencies or optional-dependencies"),
        ("tests", tested, 'the dependency group "test"'),
    ]
    for folder, declared, where in places:
        imported = {
            (distribution, file)
            for file in sorted((package.folder / folder).rglob("*.py"))
            for distribution in imported_distributions(file)
        }
        own = {canonicalize_name(file.stem) for file in (package.folder / folder).rglob("*.py")}
        for distribution, file in sorted(imported):
            if distribution not in declared and distribution not in own:
                yield (
                    f"{_shown(file, package)} imports {distribution}, which {package.name} does not declare: "
                    f"add it to {where} of packages/{package.part}/pyproject.toml."
                )


def known_elsewhere(package: Package) -> Iterator[str]:
    """Find modules that know Ray or gRPC and do not say so; import-linter matches no parts of names."""
    for file in sorted((package.folder / "src").rglob("*.py")):
        imported = imported_distributions(file)
        for distribution, (name, prefix) in KNOWN_BY_FILES_THAT_SAY_SO.items():
            if distribution in imported and not file.name.startswith(prefix):
                cure = f"move that to a file called {prefix}<subject>.py."
                yield f"{_shown(file, package)} imports {name}: {cure}"


def imported_distributions(file: Path) -> set[str]:
    """Return the names of the distributions that `file` imports from, wherever in the file it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {_distribution(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            if node.module == "outrider":
                found |= {_distribution(f"outrider.{alias.name}") for alias in node.names}
            else:
                found.add(_distribution(node.module))
    return found - {""}


def changelog_behind(package: Package) -> Iterator[str]:
    """Find a version that the changelog does not know."""
    changelog = package.folder / "CHANGELOG.md"
    if changelog.exists() and f"\n## {package.version}\n" not in changelog.read_text():
        yield (
            f"{_shown(changelog, package)} has no heading '## {package.version}': "
            "change versions with tools/bump_version.py."
        )


def machine_paths(root: Path, files: Iterable[Path]) -> Iterator[str]:
    """Find paths that exist on one machine only."""
    for file in files:
        if file.suffix in BINARY_SUFFIXES or not (root / file).is_file():
            continue
        lines = (root / file).read_text(errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            if MACHINE_PATH.search(line):
                yield f"{file}:{number} names a path of one machine: write it relative to the repository."


def tracked_files(root: Path) -> list[Path]:
    """Return what git tracks, relative to `root`."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True)
    return [Path(name) for name in listed.stdout.split("\0") if name]


def _distribution(module: str) -> str:
    """Name the distribution that `module` comes from; "" for the standard library."""
    first, *rest = module.split(".")
    if first == "outrider":
        return f"outrider-{rest[0]}" if rest else ""
    if first in sys.stdlib_module_names:
        return ""
    return canonicalize_name(DISTRIBUTION_OF_IMPORT.get(first, first))


def _names(requirements: Iterable[Requirement]) -> set[str]:
    return {str(canonicalize_name(requirement.name)) for requirement in requirements}


def _all_requirements(package: Package) -> Iterator[Requirement]:
    yield from package.dependencies
    for requirements in package.extras.values():
        yield from requirements
    for requirements in package.groups.values():
        yield from requirements


def _shown(file: Path, package: Package) -> str:
    return file.relative_to(package.folder.parent.parent).as_posix()


def main() -> int:
    """Print the findings of the workspace that this file belongs to."""
    found = findings(Path(__file__).resolve().parents[1])
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
