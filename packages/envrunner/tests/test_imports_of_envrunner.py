"""A farm installs neither torch nor Ray, and waits for nothing that it does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "pygame", "ale_py", "mujoco", "Box2D", "imageio", "cv2", "jax", "onnxruntime")


def imported(code: str) -> set[str]:
    code += "\nimport sys; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
    )


def test_importing_envrunner_imports_nothing_heavy() -> None:
    assert not imported("import outrider.envrunner").intersection(HEAVY)


def test_without_torch_the_torch_policy_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from outrider.envrunner import TorchPolicy

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"outrider-envrunner\[torch\]"):
        TorchPolicy(object())  # type: ignore[arg-type]
