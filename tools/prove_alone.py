"""Prove that what a package declares is enough: install its wheel, import every module, run its unit tests.

Runs in the environments of the matrix `alone`, which hold nothing else, on the wheels that
`hatch run wheels` built. "lowest" takes the smallest version that each range allows:

    python tools/prove_alone.py envrunner lowest
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from install_packages import clear_halves
from workspace import Package, brought_by_extras, read_packages, siblings

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "dist" / "wheels"

# Other versions of torch bring gigabytes of CUDA.
ALWAYS = ["torch==2.13.0"]

# A module may ask for what an extra of its package brings, and for nothing else that is absent.
IMPORT_EVERY_MODULE = """
import importlib, pkgutil, sys
package, optional = sys.argv[1], set(sys.argv[2:])
def distribution(module):
    names = module.split(".")
    name = "-".join(names[:2] if names[0] == "outrider" else names[:1]).replace("_", "-").lower()
    return {"grpc": "grpcio"}.get(name, name)
path = importlib.import_module(package).__path__
names = [found.name for found in pkgutil.walk_packages(path, package + ".")]
for name in names:
    if name.rpartition(".")[2] == "__main__":
        continue
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if distribution(missing.name or "") not in optional:
            raise
print(f"{package}: all {len(names) + 1} modules import")
"""


def lower_bounds(packages: Sequence[Package]) -> list[str]:
    """Return one constraint per distribution that `packages` require from outside: its smallest version.

    Where two ask for different smallest versions, the larger is the smallest that satisfies both.
    """
    ours = {package.name for package in packages}
    smallest: dict[str, Version] = {}
    for requirement in (requirement for package in packages for requirement in _proven(package)):
        name = _name(requirement)
        if name in ours or name == "torch":
            continue
        bound = _lower_bound(requirement)
        smallest[name] = max(bound, smallest.get(name, bound))
    return [f"{name}=={version}" for name, version in sorted(smallest.items())]


def _proven(package: Package) -> list[Requirement]:
    """Return what `package` requires, and of its extras what its tests ask for."""
    tested = {_name(wanted) for wanted in package.groups.get("test", ())}
    extras = [wanted for extra in package.extras.values() for wanted in extra if _name(wanted) in tested]
    return [*package.dependencies, *extras]


def _lower_bound(requirement: Requirement) -> Version:
    for limit in requirement.specifier:
        if limit.operator in {">=", "=="}:
            return Version(limit.version)
    message = f"{requirement} has no lower bound; write the smallest version that the tests pass with, >=x.y"
    raise ValueError(message)


def install(packages: Sequence[Package], others: Sequence[str], constraints: Sequence[str]) -> None:
    """Install the wheels of `packages` afresh, and `others`, within `constraints`."""
    if not packages and not others:
        return
    wheels = [_wheel(package) for package in packages]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    clear_halves(Path(sysconfig.get_path("purelib")))
    if packages:
        subprocess.run([*pip, "uninstall", "--yes", *(package.name for package in packages)], check=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join([*ALWAYS, *constraints]))
        # Compiling all of torch takes three times as long as unpacking it; what is imported is compiled then.
        quick = [*pip, "install", "--no-compile", "--constraint", str(file)]
        subprocess.run([*quick, *wheels, *others], check=True)


def _wheel(package: Package) -> str:
    name = f"{package.name.replace('-', '_')}-{package.version}-*.whl"
    found = list(WHEELS.glob(name))
    if not found:
        message = f"no {name} in {WHEELS.relative_to(ROOT)}; run `hatch run wheels` first"
        raise FileNotFoundError(message)
    return str(found[0])


def prove(package: Package, packages: dict[str, Package], versions: str) -> int:
    """Install, import and test `package`; return pytest's exit code."""
    needed = [package, *siblings(package, packages)]
    constraints = lower_bounds(needed) if versions == "lowest" else []
    install(needed, [], constraints)
    if package.has_modules:
        optional = sorted(brought_by_extras(package, packages))
        command = [sys.executable, "-c", IMPORT_EVERY_MODULE, package.module, *optional]
        subprocess.run(command, check=True)

    # Only now what the tests need besides, lest it help the package to import.
    tests = package.groups.get("test", ())
    helpers = {name: packages[name] for name in map(_name, tests) if name in packages}
    for helper in list(helpers.values()):
        helpers |= {sibling.name: sibling for sibling in siblings(helper, packages)}
    extra = [helper for helper in helpers.values() if helper not in needed]
    install(extra, [str(wanted) for wanted in tests if _name(wanted) not in packages], constraints)
    pytest = [sys.executable, "-m", "pytest", "-q", f"packages/{package.part}/tests"]
    return subprocess.run(pytest, cwd=ROOT, check=False).returncode


def _name(requirement: Requirement) -> str:
    return str(canonicalize_name(requirement.name))


def main() -> int:
    """Prove the package and the end of its ranges that the command line names."""
    part, versions = sys.argv[1:]
    packages = read_packages(ROOT)
    package = next(package for package in packages.values() if package.part == part)
    return prove(package, packages, versions)


if __name__ == "__main__":
    sys.exit(main())
