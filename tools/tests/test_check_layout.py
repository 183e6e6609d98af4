"""What the layout check finds, one fault at a time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from check_layout import findings, imported_distributions


def track(root: Path) -> None:
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)


def only_finding(root: Path) -> str:
    track(root)
    (finding,) = findings(root)
    return finding


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_sound_workspace_has_no_findings(workspace: Path) -> None:
    assert findings(workspace) == []


def test_a_namespace_init_is_found(workspace: Path) -> None:
    (workspace / "packages/brain/src/outrider/__init__.py").write_text("")
    assert only_finding(workspace).startswith("packages/brain/src/outrider/__init__.py hides every sibling")


@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", "src/outrider/nerve/py.typed", "src/outrider/nerve/__init__.py"]
)
def test_a_missing_file_is_found(workspace: Path, name: str) -> None:
    (workspace / "packages/nerve" / name).unlink()
    assert only_finding(workspace).startswith(f"packages/nerve/{name} is missing")


def test_a_package_without_tests_is_found(workspace: Path) -> None:
    (workspace / "packages/nerve/tests/test_nerve.py").unlink()
    assert only_finding(workspace).startswith("packages/nerve/tests holds no test")


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ('packages = ["outrider.brain", "outrider.nerve"]\nmypy', "tool.mypy.packages"),
        (', "$MYPY_CONFIG_FILE_DIR/packages/nerve/src"', "tool.mypy.mypy_path"),
        ('root_packages = ["outrider.brain", "outrider.nerve"]', "tool.importlinter.root_packages"),
        ('package = ["brain", "nerve"]', "tool.hatch.envs.alone.matrix"),
    ],
)
def test_a_package_missing_from_a_list_is_found(workspace: Path, entry: str, place: str) -> None:
    without = entry.replace(', "outrider.nerve"', "").replace(', "nerve"', "")
    edit(workspace / "pyproject.toml", entry, without if without != entry else "")
    assert only_finding(workspace).startswith(f"outrider-nerve is not in {place}")


def test_a_range_that_refuses_the_siblings_version_is_found(workspace: Path) -> None:
    edit(workspace / "packages/brain/pyproject.toml", ">=0.3,<0.4", ">=0.1,<0.2")
    assert "but outrider-nerve is at 0.3.0" in only_finding(workspace)


def test_a_range_without_an_end_is_found(workspace: Path) -> None:
    edit(workspace / "packages/brain/pyproject.toml", ">=0.3,<0.4", ">=0.3")
    assert "without an upper end" in only_finding(workspace)


@pytest.mark.parametrize(
    ("statement", "distribution"),
    [
        ("import torch", "torch"),
        ("from PIL import Image", "pillow"),
        ("from outrider import brain", "outrider-brain"),
        ("def f():\n    import outrider.brain.cortex", "outrider-brain"),
    ],
)
def test_an_undeclared_import_is_found(workspace: Path, statement: str, distribution: str) -> None:
    (workspace / "packages/nerve/src/outrider/nerve/axon.py").write_text(statement)
    finding = only_finding(workspace)
    assert finding.startswith(f"packages/nerve/src/outrider/nerve/axon.py imports {distribution},")


def test_an_import_of_what_an_extra_brings_is_declared(workspace: Path) -> None:
    (workspace / "packages/nerve/src/outrider/nerve/axon.py").write_text(
        "import cython\nfrom . import dendrite\n"
    )
    assert findings(workspace) == []


@pytest.mark.parametrize(("module", "name"), [("ray", "Ray"), ("grpc", "gRPC")])
def test_what_a_part_can_do_without_is_known_to_files_that_say_so(
    workspace: Path, module: str, name: str
) -> None:
    sources = workspace / "packages/brain/src/outrider/brain"
    (sources / f"{module}_runners.py").write_text(f"import {module}\n")
    (sources / "fleet.py").write_text(f"from {module}.exceptions import Lost\n")
    track(workspace)
    (finding,) = (finding for finding in findings(workspace) if f"imports {name}" in finding)
    assert finding.startswith(f"packages/brain/src/outrider/brain/fleet.py imports {name}: move that")


def test_what_only_tests_may_import_is_found_in_the_source(workspace: Path) -> None:
    (workspace / "packages/nerve/src/outrider/nerve/axon.py").write_text("import pytest")
    assert "add it to dependencies" in only_finding(workspace)


def test_an_undeclared_import_of_a_test_is_found(workspace: Path) -> None:
    (workspace / "packages/nerve/tests/test_more.py").write_text("import hypothesis")
    assert 'the dependency group "test"' in only_finding(workspace)


def test_the_standard_library_needs_no_declaration(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("import os.path\nfrom concurrent import futures\nfrom google.protobuf import message\n")
    assert imported_distributions(file) == {"protobuf"}


def test_a_version_that_the_changelog_does_not_know_is_found(workspace: Path) -> None:
    edit(workspace / "packages/nerve/CHANGELOG.md", "## 0.3.0", "## 0.2.0")
    assert "has no heading '## 0.3.0'" in only_finding(workspace)


@pytest.mark.parametrize("folder", ["home", "tmp", "root", "work"])
def test_a_path_of_one_machine_is_found(workspace: Path, folder: str) -> None:
    (workspace / "notes.md").write_text(f"first\nsee `/{folder}/me/notes`\n")
    assert only_finding(workspace).startswith("notes.md:2 names a path of one machine")


def test_addresses_and_relative_paths_are_no_paths_of_one_machine(workspace: Path) -> None:
    (workspace / "notes.md").write_text("https://example.org/home/page and docs/work/plan and ~/tmp/x\n")
    track(workspace)
    assert findings(workspace) == []
