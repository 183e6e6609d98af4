"""Conformance suites and probe environments of Outrider."""

import pytest

# Without this, what a suite finds wrong elsewhere is an "AssertionError" that does not say what it compared.
pytest.register_assert_rewrite(
    "outrider.testing.async_runner_pool_conformance",
    "outrider.testing.mailbox_conformance",
    "outrider.testing.multi_agent_conformance",
    "outrider.testing.runner_pool_conformance",
    "outrider.testing.story_fragments",
    "outrider.testing.story_rows",
)
