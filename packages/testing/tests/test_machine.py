"""What benchmarks say of where they run."""

from __future__ import annotations

import platform
from importlib.metadata import version

from outrider.testing.machine import machine


def test_versions_are_told_of_what_is_installed() -> None:
    said = machine("numpy", "never-heard-of")
    assert said.endswith(f"; Python {platform.python_version()}, numpy {version('numpy')}")
    assert " cores, load " in said
