"""A farm from its wheels alone, in an environment of its own, trains with a trainer in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from outrider.testing.command import Command

ROOT = Path(__file__).resolve().parents[1]
ONLY_TRAINERS_NEED = {"torch", "ray", "onnx", "outrider_learner", "outrider_rlmodule", "outrider_algorithm"}
MOST_BYTES = 200e6
MOST_RESIDENT_BYTES = 100e6

PROBE = """
import json, os, time
from pathlib import Path
from gymnasium.envs.classic_control import CartPoleEnv

def resident_bytes():
    # What is its own, and its share of library pages that the runners of a farm map together.
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    sizes = dict(line.split(":") for line in lines[1:])
    return int(sizes["Pss"].split()[0]) * 1024, int(sizes["Rss"].split()[0]) * 1024

class ProbedCartPole(CartPoleEnv):
    def __init__(self, report):
        before, before_with_shared = resident_bytes()
        super().__init__()
        self.report = Path(report) / f"{os.getpid()}.json"
        self.seen = {"before_bytes": before, "before_with_shared_bytes": before_with_shared}

    def step(self, action):
        if "acts_at" not in self.seen:
            self.seen |= {"acts_at": time.time(), "acting_bytes": resident_bytes()[0]}
            self.report.write_text(json.dumps(self.seen))
        return super().step(action)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Farm:
    """Where a farm is installed, and nothing else."""

    folder: Path
    install_s: float

    @property
    def packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    @property
    def command(self) -> str:
        return str(self.folder / "bin" / "outrider-farm")


def smallest_versions() -> Iterator[str]:
    """Yield the lower ends of the ranges that a farm's parts have for what is not ours."""
    for part in ("wire", "transport", "envrunner"):
        project = tomllib.loads((ROOT / "packages" / part / "pyproject.toml").read_text())["project"]
        for line in [*project["dependencies"], *project["optional-dependencies"].get("grpc", [])]:
            if not line.startswith("outrider-"):
                yield line.replace(">=", "==")


@pytest.fixture(scope="module", params=["newest", "smallest"])
def farm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Farm:
    """Install a farm with the newest versions of what it needs, and with the smallest that it allows."""
    folder = tmp_path_factory.mktemp("farm")
    subprocess.run(
        [sys.executable, str(ROOT / "tools/build_wheels.py"), str(folder / "wheels")],
        check=True,
        capture_output=True,
    )
    (wheel,) = (folder / "wheels").glob("outrider_envrunner-*.whl")
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(smallest_versions()) if request.param == "smallest" else "")
    venv.create(folder / "environment", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "environment"), "install", "--quiet"]
    as_users = ["--compile", "--disable-pip-version-check", "--find-links", str(folder / "wheels")]
    began = time.monotonic()
    subprocess.run([*pip, *as_users, "--constraint", str(constraints), f"{wheel}[grpc]"], check=True)
    return Farm(folder=folder / "environment", install_s=time.monotonic() - began)


@pytest.fixture(scope="module")
def trained(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Any]]:
    """Train with two runners of the farm, and return what the trainer said and what the runners saw."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "probe.py").write_text(PROBE)
    # Nothing of this process's environment leads the farm to where the trainer is installed.
    alone = {"PATH": os.defpath, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    train = ["-m", "outrider.algorithm", "train", "ppo", "--env", "CartPole-v1", "--listen", "127.0.0.1:0"]
    limits = ["--num-env-runners", "2", "--stop-iterations", "3", "--plain", "--run-dir", str(folder / "run")]
    with Command([sys.executable, *train, *limits]) as trainer:
        address = trainer.wait_for(r"--connect (127\.0\.0\.1:\d+)", within_s=60)[1]
        environment = ["--env", "probe:ProbedCartPole", "--env-config", json.dumps({"report": str(folder)})]
        began = time.time()
        with Command(
            [farm.command, "--connect", address, "--runners", "2", "--json-logs", *environment],
            environment=alone,
        ) as runners:
            assert trainer.wait(within_s=120) == 0, trainer.text + runners.text
            assert runners.wait(within_s=30) == 0, runners.text
        said = trainer.text
    saw = [json.loads(report.read_text()) for report in folder.glob("*.json")]
    return said, [{**each, "acts_after_s": each["acts_at"] - began} for each in saw]


def test_neither_torch_nor_ray_nor_a_trainer_is_installed(farm: Farm) -> None:
    installed = {file.name.partition("-")[0].lower() for file in farm.packages.glob("*.dist-info")}
    assert {"outrider_envrunner", "outrider_transport", "outrider_wire", "grpcio"} <= installed
    assert not installed & ONLY_TRAINERS_NEED


@pytest.mark.parametrize("farm", ["newest"], indirect=True)  # the smallest ONNX Runtime brings SymPy
def test_what_is_installed_takes_at_most_200_mb(farm: Farm, capsys: pytest.CaptureFixture[str]) -> None:
    files = [file.lstat() for file in farm.packages.rglob("*") if not file.is_dir()]
    on_disk = sum(file.st_blocks * 512 for file in files)
    with capsys.disabled():
        print(f"\na farm takes {on_disk / 1e6:.0f} MB on disk; installed in {farm.install_s:.1f} s")
    assert on_disk <= MOST_BYTES


def test_a_trainer_in_another_environment_trains_with_it(trained: tuple[str, list[Any]]) -> None:
    said, saw = trained
    assert len(saw) == 2
    assert "stopped: 3 iterations done" in said, said


def test_a_runner_takes_at_most_100_mb(
    trained: tuple[str, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, saw = trained
    for runner in saw:
        with capsys.disabled():
            print(
                f"\na runner takes {runner['before_bytes'] / 1e6:.0f} MB before its environment "
                f"({runner['before_with_shared_bytes'] / 1e6:.0f} with library pages that others map) and "
                f"{runner['acting_bytes'] / 1e6:.0f} MB as it acts, {runner['acts_after_s']:.1f} s after "
                "the command was typed"
            )
        assert runner["before_bytes"] <= MOST_RESIDENT_BYTES
        assert runner["acting_bytes"] <= MOST_RESIDENT_BYTES
