"""Tests that share what takes long to set up run in one process, or they would set it up side by side."""

from __future__ import annotations

import os

import pytest


def test_the_tests_of_a_file_are_one_group(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # Else all tests run in one process.
        assert request.node.nodeid.endswith("@test_groups")
