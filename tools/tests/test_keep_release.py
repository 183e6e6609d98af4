"""What is kept of a release, and what may not change after it."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from keep_release import IMAGE, keep_release, write_image

PROTO = """
syntax = "proto3";
package outrider.wire.v1;
message Ask {
  uint64 sequence = 1;
}
"""


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Commit a repository with one part, the distribution above it, and a proto."""
    for part, name in (("wire", "outrider-wire"), ("outrider", "outrider")):
        module = tmp_path / "packages" / part / "src" / "outrider" / part
        module.mkdir(parents=True)
        (module / "__init__.py").write_text("ANSWER = 42\n")
        (tmp_path / "packages" / part / "pyproject.toml").write_text(
            f'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
            f'[project]\nname = "{name}"\nversion = "0.3.0"\nrequires-python = ">=3.11"\n\n'
            f'[tool.hatch.build.targets.wheel]\npackages = ["src/outrider"]\n'
        )
    (tmp_path / "proto/outrider/wire/v1").mkdir(parents=True)
    (tmp_path / "proto/outrider/wire/v1/session.proto").write_text(PROTO)
    (tmp_path / "proto/buf.yaml").write_text("version: v2\nbreaking:\n  use:\n    - FILE\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=0.3.0"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def breaking(root: Path) -> subprocess.CompletedProcess[str]:
    compare = ["buf", "breaking", "proto", "--against", str(IMAGE)]
    return subprocess.run(compare, cwd=root, check=False, capture_output=True, text=True)


def change_proto(root: Path, old: str, new: str, name: str = "session") -> None:
    file = root / f"proto/outrider/wire/v1/{name}.proto"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_release_is_kept_as_it_was_committed(released: Path) -> None:
    (released / "packages/wire/src/outrider/wire/__init__.py").write_text("ANSWER = 43\n")
    wheel, image = keep_release(released)
    assert wheel == Path("integration_tests/released/0.3.0/outrider_wire-0.3.0-py3-none-any.whl")
    assert image == IMAGE
    assert zipfile.ZipFile(released / wheel).read("outrider/wire/__init__.py") == b"ANSWER = 42\n"


def test_what_is_kept_is_not_kept_again(released: Path) -> None:
    keep_release(released)
    with pytest.raises(ValueError, match=r"released/0\.3\.0 is there already.*bump_version"):
        keep_release(released)


def test_a_commit_that_is_none_is_refused(released: Path) -> None:
    with pytest.raises(ValueError, match="git knows no commit 'wire-9'"):
        keep_release(released, "wire-9")


def test_a_new_field_breaks_nobody(released: Path) -> None:
    keep_release(released)
    change_proto(released, "sequence = 1;", "sequence = 1;\n  uint64 weights_version = 2;")
    assert breaking(released).returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("  uint64 sequence = 1;\n", "", 'field "1" with name "sequence" on message "Ask" was deleted'),
        ("uint64 sequence", "string sequence", 'changed type from "uint64" to "string"'),
        ("sequence = 1", "sequence = 2", 'field "1" with name "sequence" on message "Ask" was deleted'),
        ("message Ask", "message Credit", 'message "Ask" was deleted'),
    ],
)
def test_what_an_older_peer_would_misread_is_found(released: Path, old: str, new: str, finding: str) -> None:
    keep_release(released)
    change_proto(released, old, new)
    found = breaking(released)
    assert found.returncode != 0
    assert finding in found.stdout


def test_a_change_of_our_own_protos_is_found(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    shutil.copytree(root / "proto", tmp_path / "proto")
    assert breaking(tmp_path).returncode == 0, breaking(tmp_path).stdout
    change_proto(tmp_path, "uint64 version = 1", "uint64 version = 31", name="weights")
    assert 'with name "version" on message "WeightsHeader" was deleted' in breaking(tmp_path).stdout


def test_the_image_holds_no_comments(released: Path, tmp_path: Path) -> None:
    change_proto(released, "message Ask", "// A credit.\nmessage Ask")
    write_image(released / "proto", tmp_path / "image.binpb")
    assert b"A credit" not in (tmp_path / "image.binpb").read_bytes()
