"""Nothing that comes over a network is unpickled or run: by what the sources import, and by trying."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from outrider.envrunner import EnvironmentSettings
from outrider.wire import decode_settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("wire", "transport", "envrunner", "learner", "rlmodule")
MODULES = {"pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "np.load", "numpy.load"}
ALLOWED = {
    # Ray's own processes, which carry the user's functions.
    "transport/ray_references.py": {"pickle"},
    "envrunner/fleet/ray_runner_actor.py": {"cloudpickle"},
    "envrunner/fleet/ray_runners.py": {"cloudpickle"},
    "learner/ray_groups/ray_policy_ranks.py": {"cloudpickle"},
    "learner/ray_groups/ray_rank.py": {"cloudpickle"},
    "learner/ray_groups/ray_ranks.py": {"cloudpickle"},
    # To and from processes that this very process has started, over pipes.
    "envrunner/environments/async_vector.py": {"pickle"},
    "envrunner/environments/environment_process.py": {"cloudpickle", "pickle"},
    "envrunner/farm/process_runners.py": {"cloudpickle"},
    "envrunner/farm/runner_process.py": {"pickle"},
    "envrunner/environments/served_environment.py": {"pickle"},
}
"""Which module may use what of these, relative to `outrider`. No other may, and none more than this."""


def uses(source: str) -> set[str]:
    """Return what of the above a module imports, at whatever level, or calls."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").partition(".")[0]} & MODULES
            # Ray and torch carry one of their own.
            found |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.Call):
            found |= {ast.unparse(node.func)} & CALLS
    return found


def test_only_these_modules_can_unpickle_and_none_runs_what_it_reads() -> None:
    found = {}
    for package in PACKAGES:
        folder = ROOT / "packages" / package / "src" / "outrider"
        for file in folder.rglob("*.py"):
            if used := uses(file.read_text()):
                found[str(file.relative_to(folder))] = used
    assert found == ALLOWED


def test_the_search_finds_what_it_looks_for() -> None:
    source = "def f(x):\n    from ray import cloudpickle\n    import pickle\n    return eval(torch.load(x))"
    assert uses(source) == {"cloudpickle", "pickle", "eval", "torch.load"}


def test_what_a_farm_and_a_learner_service_unpack_settings_with_refuses_pickles() -> None:
    with pytest.raises(ValueError, match="No pickle is ever read from a network peer"):
        decode_settings(EnvironmentSettings, {"env": {"pickled": b"cos\nsystem\n(S'true'\ntR."}})


def test_modules_that_speak_to_the_network_load_no_pickled_plan() -> None:
    """`RunnerPlan.from_message` and `LearnerPlan.from_message` unpickle where they are given `load`."""
    loading = set()
    for package in ("envrunner", "learner"):
        folder = ROOT / "packages" / package / "src" / "outrider"
        for file in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and any(
                    each.arg == "load" and ast.unparse(each.value).endswith("loads") for each in node.keywords
                ):
                    loading.add(file.name)
    assert loading == {"ray_runner_actor.py", "ray_rank.py", "runner_process.py"}
