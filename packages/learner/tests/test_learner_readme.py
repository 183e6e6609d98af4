"""The README's example runs."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_smallest_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert "weights" in names
