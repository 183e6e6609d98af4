"""The committed code belongs to the committed protos."""

from __future__ import annotations

import hashlib
from pathlib import Path

WIRE = Path(__file__).parents[1]
PROTOS = WIRE.parents[1] / "proto" / "outrider" / "wire" / "v1"
GENERATED = WIRE / "src" / "outrider" / "wire" / "v1"


def test_the_code_was_generated_from_these_protos() -> None:
    sources = sorted(PROTOS.glob("*.proto"))
    present = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sources]
    generated = (GENERATED / "sources.sha256").read_text().splitlines()
    assert generated == present, "run `hatch run proto:generate` and commit what it writes"


def test_no_service_stubs_are_shipped() -> None:
    assert not list(GENERATED.glob("*_pb2_grpc.py"))
