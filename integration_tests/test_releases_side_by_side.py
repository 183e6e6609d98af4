"""Runners, learners and the driver work together in Ray environments with different releases of Outrider.

A release is a copy of the packages under other versions, in which classes are called otherwise: whatever
object of ours was pickled on one side could not be read on the other.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from outrider.envrunner import (
    EnvironmentSettings,
    EnvRunnerSettings,
    LocalRunnerPool,
    RunnerFleet,
    RunnerPlan,
)
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.fleet.ray_runners import RayRunners
from outrider.learner import LearnerGroupSettings, LearnerPlan, LocalLearnerGroup, OneRank, PPOSettings
from outrider.learner.plans.device import choose_device
from outrider.learner.ray_groups.ray_learners import RayLearnerGroup
from outrider.rlmodule import ModuleSettings, PolicyRecipe, export_graph
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.transport import LocalWeights
from outrider.wire import PROTOCOL

pytestmark = pytest.mark.usefixtures("local_ray")
PACKAGES = Path(__file__).parents[1] / "packages"
COPIED = ("wire", "transport", "envrunner", "rlmodule", "learner")
RENAMED = re.compile(
    r"\b(EnvironmentSettings|EnvRunnerSettings|EnvRunner|RunnerPlan|RunnerProcess|RankProcess|RayWeights"
    r"|RayFragment|PPOSettings|LearnerPlan|LearnerGroupSettings|ModuleSettings|PolicyRecipe)\b"
)
CARTPOLE = EnvironmentSettings("CartPole-v1")
NUM_STEPS = 20


def release(folder: Path, version: str, *, protocol: str, missing: str = "") -> dict[str, Any]:
    """Make a release of our packages, without a file, and return Ray's options for an actor with it."""
    for package in COPIED:
        source = PACKAGES / package / "src" / "outrider" / package
        shutil.copytree(source, folder / "outrider" / package, ignore=shutil.ignore_patterns("__pycache__"))
        metadata = folder / f"outrider_{package}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: outrider-{package}\nVersion: {version}\n")
    for module in folder.glob("outrider/**/*.py"):
        module.write_text(RENAMED.sub(r"\1OfAnotherRelease", module.read_text()))
    handshake = folder / "outrider/wire/handshake.py"
    text, ours = handshake.read_text(), f"PROTOCOL = ProtocolVersion({PROTOCOL.major}, {PROTOCOL.minor})"
    assert ours in text
    handshake.write_text(text.replace(ours, f"PROTOCOL = ProtocolVersion({protocol.replace('.', ', ')})"))
    if missing:
        (folder / "outrider" / missing).unlink()
    return {"num_cpus": 0, "runtime_env": {"env_vars": {"PYTHONPATH": str(folder)}}}


def edit(module: Path, **replaced: str) -> None:
    """Call things otherwise, or not at all, in one module of a release."""
    text = module.read_text()
    for name, other in replaced.items():
        assert re.search(rf"\b{name}\b", text), f"{module} has no {name}"
        text = re.sub(rf"\b{name}\b", other, text)
    module.write_text(text)


def plan(**settings: Any) -> RunnerPlan:
    return RunnerPlan(
        environment=CARTPOLE,
        settings=EnvRunnerSettings(num_envs_per_env_runner=2, **settings),
        policy=mlp_graph(*spaces_of(CARTPOLE, "sync"), num_hidden=8),
        num_steps=NUM_STEPS,
        seed=5,
    )


def plan_of_learner() -> LearnerPlan:
    observation_space, action_space = spaces_of(CARTPOLE, "sync")
    recipe = PolicyRecipe(
        observation_space=observation_space,
        action_space=action_space,
        settings=ModuleSettings(fcnet_hiddens=(8,)),
        seed=3,
    )
    return LearnerPlan(
        algorithm="ppo",
        policy=recipe,
        training=PPOSettings(minibatch_size=16, num_epochs=2),
        settings=LearnerGroupSettings(num_learners=1, num_cpus_per_learner=0),
        seed=5,
    )


def fleet_of(made: RunnerPlan, options: dict[str, Any]) -> RunnerFleet:
    return RunnerFleet(
        RayRunners(made, num_runners=1, options=lambda _: options), made.settings, num_steps=NUM_STEPS
    )


def sample_once(made: RunnerPlan, options: dict[str, Any]) -> None:
    with closing(fleet_of(made, options)) as fleet:
        fleet.sample(LocalWeights(mlp_weights(made.policy)))  # type: ignore[arg-type]


def test_driver_runner_and_learner_of_three_releases_learn_what_one_release_learns(tmp_path: Path) -> None:
    older = release(tmp_path / "older", "0.0.9", protocol=f"{PROTOCOL.major}.{PROTOCOL.minor}")
    newer = release(tmp_path / "newer", "0.2.0", protocol=f"{PROTOCOL.major}.{PROTOCOL.minor + 1}")
    learner_plan = plan_of_learner()
    runner_plan = replace(plan(), policy=export_graph(learner_plan.policy.build()))

    runners = RayRunners(runner_plan, num_runners=1, options=lambda _: newer)
    fleet = RunnerFleet(runners, runner_plan.settings, num_steps=NUM_STEPS)
    group = RayLearnerGroup(learner_plan, num_learners=1, options=lambda _: older)
    with closing(fleet), closing(group):
        elsewhere = learned(fleet, group)
        assert release_of(runners._actors[0].handle) == (tmp_path / "newer", "0.2.0")
        assert release_of(group._ranks._actors[0]) == (tmp_path / "older", "0.0.9")
    with closing(LocalRunnerPool(runner_plan.make_runner(0, 0))) as local:
        learner = learner_plan.make_learner(OneRank(), choose_device(LearnerGroupSettings()))
        here = learned(local, LocalLearnerGroup(learner))
    for name, tensor in here.items():
        np.testing.assert_allclose(elsewhere[name], tensor, rtol=1e-5, atol=1e-6, err_msg=name)


def learned(runners: Any, learners: Any) -> dict[str, Any]:
    for _ in range(3):
        learners.update(runners.sample(learners.publish()))
    return {name: np.array(tensor) for name, tensor in learners.publish().load().tensors.items()}


def release_of(actor: Any) -> tuple[Path, str]:
    """Return the folder and the version of the one release that a process has loaded."""

    def look(_: Any) -> tuple[set[str], str]:
        modules = [module for name, module in sys.modules.items() if name.startswith("outrider.")]
        folders = {module.__file__.rpartition("/outrider/")[0] for module in modules}
        return folders, importlib.metadata.version("outrider-wire")

    (folder,), version = ray.get(actor.__ray_call__.remote(look), timeout=20)
    return Path(folder), version


def test_a_learner_with_other_methods_learns_and_says_which_call_it_does_not_know(tmp_path: Path) -> None:
    options = release(tmp_path, "0.0.9", protocol=str(PROTOCOL))
    renamed = {"_publish": "_publish_now", "_running": "_loop_of", "fetch": "look_at"}
    edit(tmp_path / "outrider/learner/ray_groups/ray_rank.py", **renamed)
    made = plan_of_learner()
    runner = replace(plan(), policy=export_graph(made.policy.build())).make_runner(0, 0)
    with (
        closing(LocalRunnerPool(runner)) as runners,
        closing(RayLearnerGroup(made, num_learners=1, options=lambda _: options)) as group,
    ):
        fragments = runners.sample(group.publish())
        assert group.update(fragments)
        assert group.publish().version == 1
        with pytest.raises(ValueError, match=r"outrider-learner 0\.0\.9.* knows no call 'fetch'; upgrade it"):
            group._ranks.answers([group._ranks.call(0, "fetch", None)])


def test_a_learner_without_its_part_says_what_to_install(tmp_path: Path) -> None:
    options = release(tmp_path, "0.0.1", protocol=str(PROTOCOL), missing="learner/ray_groups/ray_rank.py")
    with pytest.raises(
        RuntimeError, match=r"learner 0's process could not load its part; install outrider-l"
    ):
        RayLearnerGroup(plan_of_learner(), num_learners=1, options=lambda _: options)


def test_a_runner_of_another_major_protocol_is_refused_in_one_sentence(tmp_path: Path) -> None:
    options = release(tmp_path, "2.0.0", protocol=f"{PROTOCOL.major + 1}.0")
    with pytest.raises(ValueError, match="major versions must be equal") as raised:
        sample_once(plan(), options)
    sentence = str(raised.value)
    assert f"speaks wire protocol {PROTOCOL}" in sentence
    assert f"outrider-wire 2.0.0) speaks {PROTOCOL.major + 1}.0" in sentence
    assert "upgrade the training process (outrider-envrunner" in sentence


def test_a_setting_that_the_runners_release_does_not_know_is_refused_by_name(tmp_path: Path) -> None:
    options = release(tmp_path, "0.0.9", protocol=str(PROTOCOL))
    for module in tmp_path.glob("outrider/envrunner/**/*.py"):
        module.write_text(module.read_text().replace("record_action_parameters", "record_parameters"))
    sample_once(plan(), options)
    with pytest.raises(ValueError, match=r"outrider-envrunner 0\.0\.9.*record_action_parameters"):
        sample_once(plan(record_action_parameters=True), options)


def test_a_runner_without_its_part_says_what_to_install(tmp_path: Path) -> None:
    options = release(
        tmp_path, "0.0.1", protocol=str(PROTOCOL), missing="envrunner/fleet/ray_runner_actor.py"
    )
    with pytest.raises(
        RuntimeError, match=r"runner 0's process could not load its part; install outrider-env"
    ):
        sample_once(plan(), options)
