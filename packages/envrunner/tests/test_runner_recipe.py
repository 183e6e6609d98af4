"""A policy that cannot be exported is built where it acts."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from outrider.envrunner import RunnerPlan
from outrider.testing.fragments import assert_same_fragment, assert_well_formed
from outrider.testing.runner_pool_conformance import pool_setup

SETUP = pool_setup()


def test_a_recipe_builds_the_same_acting_policy_from_its_message() -> None:
    pytest.importorskip("torch", reason="the extra torch is not installed")
    rlmodule = pytest.importorskip("outrider.rlmodule", reason="the extra torch is not installed")
    recipe = rlmodule.PolicyRecipe(
        observation_space=SETUP.graph.observation_space,
        action_space=SETUP.graph.action_space,
        settings=rlmodule.ModuleSettings(),
        seed=1,
    )
    plan = replace(SETUP.plan, policy=recipe)
    fragments = []
    for made in (plan, RunnerPlan.from_message(plan.to_message())):
        runner = made.make_runner(0, 0)
        runner.set_weights(recipe.build().weights(version=0))
        fragments.append(runner.sample())
    assert_well_formed(fragments[0])
    assert_same_fragment(*fragments)


def test_a_recipe_where_nothing_can_build_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "outrider.rlmodule", None)
    message = {**SETUP.plan.to_message(), "policy_recipe": {}}
    del message["policy_graph"]
    with pytest.raises(ImportError, match=r"pip install 'outrider-envrunner\[torch\]'"):
        RunnerPlan.from_message(message)
