"""The generator of the protos' code, without protoc."""

from __future__ import annotations

from pathlib import Path

import pytest

import gen_proto


def test_files_that_are_missing_changed_or_left_over_are_stale() -> None:
    fresh = {"same": b"1", "changed": b"2", "missing": b"3"}
    present = {"same": b"1", "changed": b"?", "left_over": b"4"}
    assert gen_proto.differences(fresh, present) == ["changed", "left_over", "missing"]


def test_generated_files_are_replaced_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_bytes(b"ours")
    (tmp_path / "gone_pb2.py").write_bytes(b"old")
    gen_proto.replace_generated(tmp_path, {"new_pb2.py": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "__init__.py": b"ours",
        "new_pb2.py": b"new",
    }


def test_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "empty.proto").write_bytes(b"")
    line = gen_proto.digests([tmp_path / "empty.proto"])
    assert line == b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty.proto\n"


def test_another_generator_is_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gen_proto.metadata, "version", lambda name: "1.85.1")
    assert gen_proto.main(["--check"]) == 2
    error = capsys.readouterr().err
    assert "generated with grpcio-tools==1.64.3, found 1.85.1; run `hatch run proto:generate`" in error


def test_stale_code_fails_the_check_and_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gen_proto, "require_generator", lambda: None)
    monkeypatch.setattr(gen_proto, "generate", lambda directory: {"new_pb2.py": b"new"})
    monkeypatch.setattr(gen_proto, "GENERATED", tmp_path)
    assert gen_proto.main(["--check"]) == 1
    assert "stale: new_pb2.py; run `hatch run proto:generate`" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert gen_proto.main([]) == 0
    assert gen_proto.main(["--check"]) == 0
