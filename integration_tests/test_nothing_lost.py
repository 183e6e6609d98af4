"""A farm over a network that breaks at random: every step that it took is learned from, and none twice.

Some seconds in CI; with `OUTRIDER_CHAOS_S=120` each test goes on for so long.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from outrider.envrunner import (
    AsyncRunnerFleet,
    EnvironmentSettings,
    EnvRunnerSettings,
    PoolStatistics,
    RunnerFleet,
    RunnerPlan,
)
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.gateway.gateway import Gateway
from outrider.testing.chaos_proxy import ChaosProxy
from outrider.testing.command import Command
from outrider.testing.counted_steps import CountedSteps, counted
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.transport import FragmentReference, LocalWeights, WeightsReference
from outrider.transport.security import ServerSecurity

CHAOS_S = float(os.environ.get("OUTRIDER_CHAOS_S", "6"))
DEADLINE_S = 60.0
NUM_RUNNERS = 3
NUM_STEPS = 25
SETTINGS = EnvRunnerSettings(
    num_env_runners=NUM_RUNNERS,
    num_envs_per_env_runner=2,
    min_runners=NUM_RUNNERS,
    reconnect_timeout_s=DEADLINE_S,
)


class Rig:
    """A gateway, a farm whose steps are counted, and the network between them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        environment = EnvironmentSettings(CountedSteps, env_config={"folder": str(folder)})
        self.folder = folder
        self.graph = mlp_graph(*spaces_of(environment, "sync"), num_hidden=64)
        plan = RunnerPlan(
            environment=environment, settings=SETTINGS, policy=self.graph, num_steps=NUM_STEPS, seed=1
        )
        security = ServerSecurity()
        self.gateway = Gateway(
            plan, SETTINGS, num_seats=NUM_RUNNERS, address="127.0.0.1:0", security=security
        )
        self.proxy = stack.enter_context(ChaosProxy(self.gateway.address))
        command = [
            sys.executable,
            "-m",
            "outrider.envrunner.farm.farm_command",
            "--connect",
            self.proxy.address,
        ]
        command += [
            "--env",
            "outrider.testing.counted_steps:CountedSteps",
            "--env-config",
            f'{{"folder": "{folder}"}}',
            "--runners",
            str(NUM_RUNNERS),
        ]
        command += ["--drain-timeout", str(DEADLINE_S)]
        self.farm = stack.enter_context(Command(command))
        self.learned: Counter[tuple[int, int]] = Counter()

    def weights(self, version: int) -> LocalWeights:
        return LocalWeights(mlp_weights(self.graph, version=version, seed=version))

    def learn(self, fragments: Sequence[FragmentReference]) -> None:
        """Take note of every row."""
        for reference in fragments:
            rows = reference.load().observations[""].astype(np.int64)
            self.learned.update(map(tuple, rows.tolist()))

    def drained(self) -> int:
        """Tell the farm to leave; return its exit code when it has."""
        self.farm.signal(signal.SIGTERM)
        return self.farm.wait(within_s=DEADLINE_S)

    def assert_nothing_is_lost(self, counts: PoolStatistics) -> None:
        """Assert that the rows learned from are the steps taken, one for one."""
        # Those that were made for a look at their spaces took one step at most.
        steps = {number: steps for number, steps in counted(self.folder).items() if steps > 1}
        taken = {(number, step) for number, steps in steps.items() for step in range(steps)}
        assert len(steps) == 2 * NUM_RUNNERS, "each copy was made once"
        assert set(self.learned) == taken, f"missing or invented: {len(set(self.learned) ^ taken)} rows"
        assert set(self.learned.values()) == {1}, "nothing is learned from twice"
        assert (counts.num_lost_rows, counts.num_runner_restarts, counts.num_left) == (0, 0, 0)
        assert counts.num_joined == NUM_RUNNERS
        print(
            f"{len(self.learned)} rows were taken and learned from; of {self.proxy.num_connections} "
            f"connections {self.proxy.num_cuts} were cut; {counts.num_duplicates} fragments came twice"
        )


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path, stack)


@contextmanager
def chaos(proxy: ChaosProxy, *, seed: int) -> Iterator[None]:
    """Break, slow down and freeze the network at random as long as the block lasts; then leave it alone."""
    rng = random.Random(seed)
    over = threading.Event()

    def rage() -> None:
        while not over.wait(rng.uniform(0.05, 0.5)):
            proxy.latency_s = rng.choice([0.0, 0.0, 0.002, 0.03])
            proxy.attempt_s = rng.choice([0.0, 0.3])
            proxy.cut_after_bytes = rng.choice([None, (1e2, 1e6), (1e4, 1e6)])
            match rng.choice(["one", "one", "all", "frozen", "nothing"]):
                case "one":
                    proxy.cut(1 / NUM_RUNNERS)
                case "all":
                    proxy.cut()
                case "frozen":
                    proxy.is_half_open = True
                    over.wait(rng.choice([0.1, 0.5, 15.0 if CHAOS_S > 30 else 0.2]))
                    if rng.random() < 0.5:
                        proxy.cut()
                    proxy.is_half_open = False

    raging = threading.Thread(target=rage)
    raging.start()
    try:
        yield
    finally:
        over.set()
        raging.join()
        proxy.is_half_open, proxy.cut_after_bytes, proxy.latency_s = False, None, 0.0


def test_updates_learn_from_every_step_once_however_often_the_network_breaks(rig: Rig) -> None:
    with closing(RunnerFleet(rig.gateway, SETTINGS, num_steps=NUM_STEPS)) as fleet:
        rig.learn(fleet.sample(rig.weights(0)))
        version, ends = 0, time.monotonic() + CHAOS_S
        with chaos(rig.proxy, seed=1):
            while time.monotonic() < ends:
                version += 1
                fragments = fleet.sample(rig.weights(version))
                assert len(fragments) == NUM_RUNNERS
                assert {each.summary.policy_version for each in fragments} == {version}
                rig.learn(fragments)
        counts = fleet.statistics()
        assert rig.drained() == 0
        rig.assert_nothing_is_lost(counts)
    assert rig.proxy.num_cuts >= CHAOS_S / 2


def test_runners_that_sample_without_pause_lose_nothing_either(rig: Rig) -> None:
    with closing(AsyncRunnerFleet(rig.gateway, SETTINGS, num_steps=NUM_STEPS)) as fleet:
        fleet.offer(rig.weights(0))
        while not rig.learned:
            rig.learn(fleet.collect(at_most=8, timeout_s=1.0))
        version, ends = 0, time.monotonic() + CHAOS_S
        with chaos(rig.proxy, seed=2):
            while time.monotonic() < ends:
                version += 1
                fleet.offer(rig.weights(version))
                rig.learn(fleet.collect(at_most=8, timeout_s=0.1))
                time.sleep(0.3 if version % 10 == 0 else 0.0)  # what arrives is not acknowledged meanwhile
        counts = fleet.statistics()
        with ThreadPoolExecutor() as pool:
            code = pool.submit(rig.drained)
            while not code.done():
                rig.learn(fleet.collect(at_most=8, timeout_s=0.1))
        rig.learn(fleet.collect(at_most=100, timeout_s=0.1))
        assert code.result() == 0
        rig.assert_nothing_is_lost(counts)
    assert rig.proxy.num_cuts >= CHAOS_S / 2


def test_a_farm_that_was_frozen_until_it_was_missed_goes_on_where_it_was(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(RunnerFleet(rig.gateway, SETTINGS, num_steps=NUM_STEPS)) as fleet:
        rig.learn(fleet.sample(rig.weights(0)))
        runners = Path(f"/proc/{rig.farm.pid}/task/{rig.farm.pid}/children").read_text().split()
        frozen = [rig.farm.pid, *map(int, runners)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        frozen_at = time.monotonic()

        def thaw() -> None:
            while caplog.text.count("lost touch") < NUM_RUNNERS and time.monotonic() < frozen_at + DEADLINE_S:
                time.sleep(0.05)
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

        thawing = threading.Thread(target=thaw)
        thawing.start()
        rig.learn(fleet.sample(rig.weights(1)))
        thawing.join()
        assert time.monotonic() - frozen_at < 30  # missed within 12 s
        rig.learn(fleet.sample(rig.weights(2)))
        counts = fleet.statistics()
        assert rig.drained() == 0
        rig.assert_nothing_is_lost(counts)


def test_a_runner_that_is_killed_costs_an_update_its_fragment_and_no_wait_for_its_return(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(RunnerFleet(rig.gateway, SETTINGS, num_steps=NUM_STEPS)) as fleet:
        fleet.sample(rig.weights(0))
        killed = int(Path(f"/proc/{rig.farm.pid}/task/{rig.farm.pid}/children").read_text().split()[0])
        ask = rig.gateway.ask

        def kill_and_ask(index: int, weights: WeightsReference | None) -> None:
            monkeypatch.undo()
            os.kill(killed, signal.SIGKILL)
            ask(index, weights)

        monkeypatch.setattr(rig.gateway, "ask", kill_and_ask)
        assert len(fleet.sample(rig.weights(1))) == NUM_RUNNERS - 1
        assert "failed: its process has died" in caplog.text  # and not: did not come back within
        deadline = time.monotonic() + DEADLINE_S
        while len(fleet.sample(rig.weights(2))) < NUM_RUNNERS:
            assert time.monotonic() < deadline, "nobody takes its place"
        counts = fleet.statistics()
        assert counts.num_lost_rows == NUM_STEPS * SETTINGS.num_envs_per_env_runner
        assert (counts.num_left, counts.num_joined) == (1, NUM_RUNNERS + 1)
