"""Tests that share what takes long to set up run in one process, or they would set it up side by side."""

from __future__ import annotations

import os

import pytest

PROCESS = os.environ.get("PYTEST_XDIST_WORKER")


@pytest.fixture(scope="module")
def shared() -> None:
    """Stand for what takes long."""


@pytest.mark.skipif(PROCESS is None, reason="all tests run in one process")
def test_tests_that_share_what_their_file_sets_up_are_one_group(
    shared: None, request: pytest.FixtureRequest
) -> None:
    assert request.node.nodeid.endswith("@test_groups")


@pytest.mark.skipif(PROCESS is None, reason="all tests run in one process")
def test_a_test_that_shares_nothing_is_in_no_group(request: pytest.FixtureRequest) -> None:
    assert "@" not in request.node.nodeid
