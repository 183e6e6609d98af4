"""What a bump writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from bump_version import bump, compatible_range, next_version, with_range
from check_layout import findings


@pytest.mark.parametrize(
    ("change", "expected"),
    [("patch", "0.3.2"), ("minor", "0.4.0"), ("major", "1.0.0"), ("2.5.0", "2.5.0")],
)
def test_the_next_version_follows_the_change(change: str, expected: str) -> None:
    assert next_version(Version("0.3.1"), change) == Version(expected)


@pytest.mark.parametrize(("version", "expected"), [("0.3.2", ">=0.3,<0.4"), ("1.4.0", ">=1.4,<2")])
def test_a_compatible_range_ends_where_an_incompatible_version_may_come(version: str, expected: str) -> None:
    assert compatible_range(Version(version)) == expected


def test_a_patch_leaves_the_siblings_alone(workspace: Path) -> None:
    changed = bump(workspace, "nerve", "patch")
    assert changed == [Path("packages/nerve/CHANGELOG.md"), Path("packages/nerve/pyproject.toml")]
    assert 'version = "0.3.1"' in (workspace / "packages/nerve/pyproject.toml").read_text()


def test_a_minor_before_one_moves_the_ranges_of_siblings(workspace: Path) -> None:
    changed = bump(workspace, "nerve", "minor")
    assert Path("packages/brain/pyproject.toml") in changed
    assert '"outrider-nerve[fast]>=0.4,<0.5"' in (workspace / "packages/brain/pyproject.toml").read_text()


def test_the_unreleased_changes_become_the_new_versions(workspace: Path) -> None:
    bump(workspace, "nerve", "minor")
    text = (workspace / "packages/nerve/CHANGELOG.md").read_text()
    assert text == "# Changes\n\n## 0.4.0\n\nSomething.\n\n## 0.3.0\n\nFirst.\n"


def test_the_layout_is_sound_after_a_bump(workspace: Path) -> None:
    bump(workspace, "nerve", "major")
    assert findings(workspace) == []


@pytest.mark.parametrize(
    ("part", "change", "refusal"),
    [
        ("spine", "minor", "there is no packages/spine; name one of brain, nerve"),
        ("nerve", "0.3.0", "0.3.0 does not follow 0.3.0"),
        ("nerve", "bigger", "'bigger' is no version"),
    ],
)
def test_a_bump_that_makes_no_sense_is_refused(workspace: Path, part: str, change: str, refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        bump(workspace, part, change)


def test_a_bump_without_words_for_users_writes_nothing(workspace: Path) -> None:
    changelog = workspace / "packages/nerve/CHANGELOG.md"
    changelog.write_text("# Changes\n\n## Unreleased\n\n## 0.3.0\n\nFirst.\n")
    with pytest.raises(ValueError, match="says nothing under '## Unreleased'"):
        bump(workspace, "nerve", "minor")
    assert 'version = "0.3.0"' in (workspace / "packages/nerve/pyproject.toml").read_text()


def test_other_requirements_keep_their_ranges() -> None:
    text = 'dependencies = ["outrider-nerve-extra>=0.1,<0.2", "numpy>=1.26", "outrider-nerve>=0.1,<0.2"]'
    moved = with_range(text, "outrider-nerve", Version("0.2.0"))
    assert moved == text.replace('"outrider-nerve>=0.1,<0.2"', '"outrider-nerve>=0.2,<0.3"')
