"""Programs in JavaScript, with stock packages and the proto files, take part in a run in both ways."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from javascript_peers import LAST_WORDS_S, NUM_STEPS, SETTINGS, TRAINING_S, Run, peer
from outrider.envrunner import EnvironmentSettings, OnnxPolicy
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.fleet.remote_runners import Ready
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.testing.fragments import assert_goes_on
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.transport import LocalWeights

GOAL = 450.0
CARTPOLE = EnvironmentSettings("CartPole-v1")
ACROBOT = EnvironmentSettings("Acrobot-v1")
GRAPH = mlp_graph(*spaces_of(CARTPOLE, "sync"), num_hidden=8)
WEIGHTS = LocalWeights(mlp_weights(GRAPH))


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


def cartpole_plan(environment: EnvironmentSettings = CARTPOLE) -> RunnerPlan:
    policy = mlp_graph(*spaces_of(environment, "sync"), num_hidden=8)
    return RunnerPlan(environment=environment, settings=SETTINGS, policy=policy, num_steps=NUM_STEPS, seed=0)


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run(cartpole_plan())
    yield run
    run.gateway.close()


@pytest.mark.parametrize("program", ["acts_itself", "is_acted_for"])
def test_a_run_for_another_environment_refuses_them_in_a_sentence(node: str, program: str) -> None:
    run = Run(cartpole_plan(ACROBOT))
    with peer(node, program, run.gateway.address) as refused:
        words = refused.communicate(timeout=LAST_WORDS_S)[0]
    run.gateway.close()
    assert words.startswith("refused: the observation_space of cartpole.js 1.0 differs from that of the run")
    assert refused.returncode == 1


class Cable:
    """Forwards connections to a server until it is cut, and new ones after that."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._server = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.num_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def cut(self) -> None:
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                self.num_connections += 1
                self._sockets += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(2**16):
                sink.sendall(piece)
        source.close()
        sink.close()


def what_follows(observation_N4: np.ndarray, action_N: np.ndarray) -> np.ndarray:
    """Return what Gymnasium's CartPole shows after each of these."""
    env = gym.make("CartPole-v1").unwrapped
    env.reset()
    following = []
    for observation, action in zip(observation_N4, action_N, strict=True):
        env.state, env.steps_beyond_terminated = tuple(observation.astype(float)), None
        following.append(env.step(int(action))[0])
    return np.stack(following)


@pytest.mark.parametrize("program", ["acts_itself", "is_acted_for"])
def test_their_rows_are_what_gymnasium_would_show_and_their_actions_what_the_policy_would_draw(
    node: str, program: str, run: Run
) -> None:
    with peer(node, program, run.gateway.address):
        run.wait_for(Ready)
        run.gateway.ask(0, WEIGHTS)
        fragment = run.next_fragment()
    shown, actions = fragment.observations[""], fragment.actions[""]
    following = np.empty_like(shown)
    following[:-1] = shown[1:]
    following[fragment.next_rows] = fragment.next_observations[""]
    went_on = ~fragment.terminated
    np.testing.assert_allclose(what_follows(shown, actions)[went_on], following[went_on], atol=1e-5)
    policy = OnnxPolicy(GRAPH)
    policy.set_weights(WEIGHTS.load())
    logits = policy.act({"": shown}, {})[0]
    np.testing.assert_allclose(fragment.action_parameters, logits, atol=1e-5)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    chosen = probabilities[np.arange(len(actions)), actions]
    np.testing.assert_allclose(fragment.action_log_probs, np.log(chosen), atol=1e-4)
    assert abs((actions == 1).mean() - probabilities[:, 1].mean()) < 0.1


def test_a_runner_in_javascript_loses_nothing_and_sends_nothing_twice_when_its_connection_breaks(
    node: str, run: Run
) -> None:
    cable = Cable(run.gateway.address)
    with peer(node, "acts_itself", cable.address):
        run.wait_for(Ready)
        fragments = []
        for _ in range(4):
            for _ in range(3):
                run.gateway.ask(0, WEIGHTS)
            cable.cut()
            fragments += [run.next_fragment() for _ in range(3)]
    cable.close()
    assert run.num_lost == 0
    assert cable.num_connections > 1
    for before, after in pairwise(fragments):
        assert_goes_on(before, after)
