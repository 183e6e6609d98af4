"""What a benchmark says of the machine that it runs on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path


def machine(*distributions: str) -> str:
    """Name the processor, how busy it is, and the versions of Python and of `distributions`."""
    installed = {distribution.name: distribution.version for distribution in metadata.distributions()}
    versions = [f"{name} {installed[name]}" for name in distributions if name in installed]
    cores = f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{cores}; {', '.join([f'Python {platform.python_version()}', *versions])}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
