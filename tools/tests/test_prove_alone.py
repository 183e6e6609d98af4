"""Which versions the matrix installs at the low end of the ranges."""

from __future__ import annotations

from pathlib import Path

import pytest

from prove_alone import lower_bounds
from workspace import brought_by_extras, read_packages, siblings


def test_the_lowest_versions_are_the_lower_bounds(workspace: Path) -> None:
    nerve = read_packages(workspace)["outrider-nerve"]
    assert lower_bounds([nerve]) == ["numpy==2.0", "protobuf==4.25.3"]


def test_of_two_lower_bounds_the_larger_satisfies_both(workspace: Path) -> None:
    packages = read_packages(workspace)
    assert lower_bounds(list(packages.values())) == ["numpy==2.0", "protobuf==4.25.3"]


def test_of_an_extra_the_lower_bound_counts_where_tests_ask_for_it(workspace: Path) -> None:
    file = workspace / "packages/nerve/pyproject.toml"
    file.write_text(file.read_text().replace('test = ["pytest"]', 'test = ["cython", "pytest"]'))
    assert "cython==3" in lower_bounds([read_packages(workspace)["outrider-nerve"]])


def test_a_requirement_without_lower_bound_is_refused(workspace: Path) -> None:
    file = workspace / "packages/nerve/pyproject.toml"
    file.write_text(file.read_text().replace("numpy>=2.0", "numpy<3"))
    with pytest.raises(ValueError, match="numpy<3 has no lower bound"):
        lower_bounds([read_packages(workspace)["outrider-nerve"]])


def test_siblings_are_found_through_siblings(workspace: Path) -> None:
    packages = read_packages(workspace)
    names = [sibling.name for sibling in siblings(packages["outrider-brain"], packages)]
    assert names == ["outrider-nerve"]


def test_an_extra_brings_what_extras_of_siblings_bring(workspace: Path) -> None:
    file = workspace / "packages/brain/pyproject.toml"
    file.write_text(file.read_text().replace('fast = ["cython>=3"]', 'fast = ["outrider-nerve[fast]"]'))
    packages = read_packages(workspace)
    assert brought_by_extras(packages["outrider-brain"], packages) == {"outrider-nerve", "cython"}
