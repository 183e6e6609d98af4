"""Generate the Python code of the protos: `python tools/gen_proto.py`, or with `--check` only compare.

The generator's version is the least protobuf that users may have: code of grpcio-tools 1.64.3 (protoc
26.1) imports on protobuf 4.25 to 7.36, code of the newest only on the newest. Service stubs are not
generated at all, because they refuse every grpcio older than their generator.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path

GENERATOR = "grpcio-tools==1.64.3"
ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "proto"
PACKAGE = Path("outrider/wire/v1")
GENERATED = ROOT / "packages" / "wire" / "src" / PACKAGE
DIGESTS = "sources.sha256"
UNCHECKED = b"# mypy: ignore-errors\n"
"""Stubs of this generator fail strict checks themselves; what they say of our code is still used."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Generate the Python code of the protos.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the code is stale")
    check = parser.parse_args(arguments).check
    try:
        require_generator()
        with tempfile.TemporaryDirectory() as directory:
            fresh = generate(Path(directory))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    stale = differences(fresh, read_generated(GENERATED))
    if not stale:
        print(f"{len(fresh)} generated files are current")
        return 0
    if check:
        print(f"stale: {', '.join(stale)}; run `hatch run proto:generate` and commit", file=sys.stderr)
        return 1
    replace_generated(GENERATED, fresh)
    print(f"wrote {', '.join(stale)}")
    return 0


def require_generator() -> None:
    """Raise RuntimeError unless exactly the generator that makes widely readable code is installed."""
    name, _, wanted = GENERATOR.partition("==")
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = "none"
    if found != wanted:
        raise RuntimeError(
            f"the protos are generated with {GENERATOR}, found {found}; "
            "run `hatch run proto:generate`, whose environment has it (Python 3.12 or older)"
        )


def generate(directory: Path) -> dict[str, bytes]:
    """Run protoc into `directory` and return what the generated package must hold, by file name."""
    from grpc_tools import protoc

    sources = sorted((PROTOS / PACKAGE).glob("*.proto"))
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={resources.files('grpc_tools') / '_proto'}",
            f"--python_out={directory}",
            f"--pyi_out={directory}",
            *(str(source) for source in sources),
        ]
    )
    if code != 0:
        raise RuntimeError(f"protoc ended with {code}; its message stands above")
    fresh = read_generated(directory / PACKAGE)
    for name in fresh:
        if name.endswith(".pyi"):
            fresh[name] = UNCHECKED + fresh[name]
    fresh[DIGESTS] = digests(sources)
    return fresh


def digests(sources: list[Path]) -> bytes:
    """Return one line for each source as `sha256sum` writes it: a test without protoc compares it."""
    lines = (f"{hashlib.sha256(source.read_bytes()).hexdigest()}  {source.name}\n" for source in sources)
    return "".join(lines).encode()


def read_generated(directory: Path) -> dict[str, bytes]:
    """Return the generated files of `directory`, by name."""
    names = ("*_pb2.py", "*_pb2.pyi", DIGESTS)
    return {path.name: path.read_bytes() for name in names for path in sorted(directory.glob(name))}


def differences(fresh: dict[str, bytes], present: dict[str, bytes]) -> list[str]:
    """Return the names of files that are missing, changed or no longer generated."""
    return sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))


def replace_generated(directory: Path, fresh: dict[str, bytes]) -> None:
    """Make `directory` hold exactly the fresh files, beside those that are not generated."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in read_generated(directory).keys() - fresh.keys():
        (directory / name).unlink()
    for name, content in fresh.items():
        (directory / name).write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
