"""What importing the package costs."""

from __future__ import annotations

import subprocess
import sys

import outrider.rlmodule


def modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_settings_import_without_torch() -> None:
    assert "torch" not in modules_after("from outrider.rlmodule import ModuleSettings")


def test_policies_import_nothing_that_torch_does_not() -> None:
    extra = modules_after("from outrider.rlmodule import build_policy") - modules_after("import torch")
    assert not {name for name in extra if name.split(".")[0] in {"onnx", "onnxruntime", "scipy", "gymnasium"}}
    assert "torch.onnx._internal.torchscript_exporter.utils" not in extra


def test_every_public_name_is_there() -> None:
    for name in outrider.rlmodule.__all__:
        assert getattr(outrider.rlmodule, name) is not None
