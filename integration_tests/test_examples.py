"""Every example runs, in a form small enough for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
TINY = {
    "connect_four.py": (
        ["--iterations", "1", "--num-envs", "4", "--num-steps", "16", "--num-games", "10"],
        "of 10 games against a one-step lookahead",
    ),
    "rock_paper_scissors.py": (["--iterations", "2"], "2 iterations"),
    "async_vectorization.py": (["--num-envs", "2", "--num-steps", "10", "--iterations", "1"], "speed-up"),
    "many_runners.py": (["--num-env-runners", "2", "--iterations", "2"], "   2 runners"),
    "multi_agent_cartpole.py": (["--num-envs", "2", "--iterations", "2"], "2 policies, most of them from "),
    "num_learners.py": (
        ["--num-learners", "2", "--width", "8", "--num-rows", "256", "--iterations", "1"],
        "2 learners, 256 rows: ",
    ),
    "simple_spread_mappo.py": (["--num-envs", "2", "--iterations", "1"], "a gain of "),
}
"""Arguments, and what is printed."""
NEED_GPU = {
    "gpu_environment.py": (["--iterations", "1"], "steps/s"),
    "five_on_one_gpu.py": (["--iterations", "1"], "a sixth: "),
}
ELSEWHERE = {
    "play_exported.py",  # integration_tests/test_train_cli.py
    "tune_ppo.py",  # integration_tests/test_ray_tune.py
}


def ran(name: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", TINY)
def test_an_example_prints_what_it_promises(name: str) -> None:
    arguments, promised = TINY[name]
    done = ran(name, arguments)
    assert done.returncode == 0, done.stderr
    assert promised in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("name", NEED_GPU)
def test_an_example_that_needs_a_gpu_says_so_in_one_sentence_where_there_is_none(name: str) -> None:
    done = ran(name, NEED_GPU[name][0])
    assert done.returncode == 1
    assert "GPU" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", NEED_GPU)
def test_an_example_that_needs_a_gpu_uses_it(name: str) -> None:
    arguments, promised = NEED_GPU[name]
    done = ran(name, arguments)
    assert done.returncode == 0, done.stderr
    assert promised in done.stdout


def test_no_example_is_left_out() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} <= {*TINY, *NEED_GPU, *ELSEWHERE}
