"""What importing a part loads: a farm is installed, and starts, without what only trainers need."""

from __future__ import annotations

import subprocess
import sys

import pytest

ONLY_TRAINERS_NEED = {"torch", "onnx", "ray", "grpc", "outrider.rlmodule", "outrider.learner"}


@pytest.mark.parametrize("part", ["wire", "transport", "envrunner"])
def test_a_farm_loads_nothing_that_only_trainers_need(part: str) -> None:
    script = f"import sys, outrider.{part}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert f"outrider.{part}" in loaded
    assert not loaded & ONLY_TRAINERS_NEED


def test_the_command_line_says_what_it_can_do_without_loading_torch() -> None:
    script = (
        "import sys; from outrider.algorithm.commands.cli import main; main(['--help']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not set(done.stdout.split()) & {"torch", "numpy", "gymnasium"}


@pytest.mark.parametrize("config", ["PPOConfig", "IMPALAConfig", "APPOConfig"])
def test_training_in_one_process_loads_no_ray(config: str) -> None:
    script = (
        "import sys, outrider.algorithm\n"
        f"config = outrider.algorithm.{config}().environment('CartPole-v1').learners(num_learners='auto')\n"
        "config.training(train_batch_size_per_learner=64)\n"
        "with config.build() as algorithm: algorithm.train()\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not set(done.stdout.split()) & {"ray", "grpc"}
