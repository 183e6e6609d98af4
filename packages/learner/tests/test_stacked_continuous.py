"""Policies whose actions are numbers learn together what each learns alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.learner import (
    APPOLearner,
    APPOSettings,
    IMPALALearner,
    IMPALASettings,
    PPOLearner,
    PPOSettings,
    StackedAPPOLearner,
    StackedIMPALALearner,
    StackedPPOLearner,
)
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, take_policies

SEEN = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
DONE = BoxSpace(low=np.full(2, -1, np.float32), high=np.full(2, 1, np.float32))
ALGORITHMS: dict[str, tuple[Any, Any, Any]] = {
    "ppo": (PPOLearner, StackedPPOLearner, PPOSettings(lr=1e-2, num_epochs=2)),
    "impala": (IMPALALearner, StackedIMPALALearner, IMPALASettings(lr=1e-2)),
    "appo": (APPOLearner, StackedAPPOLearner, APPOSettings(lr=1e-2)),
}
MODULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "deviations from features": {"free_log_std": False},
    "lstm": {"use_lstm": True},
}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_all_weights_learn_what_a_learner_of_its_own_teaches(lab: Any, algorithm: str, module: str) -> None:
    make_alone, make, settings = ALGORITHMS[algorithm]
    chosen = ModuleSettings(fcnet_hiddens=(4,), **MODULES[module])
    recipe = PolicyRecipe(observation_space=SEEN, action_space=DONE, settings=chosen, seed=0)
    stacked = make(PolicyStack(recipe, [0, 1]), settings, numbers=[0, 1], seed=0)
    first = stacked.policy_state(0)["module"]
    fragment = lab.fragment(recipe.build(), [7, 3, 5])
    fragment = replace(fragment, streams=replace(fragment.streams, policy=np.array([0, 0, 1], np.int32)))
    stacked.update([fragment])
    for number in (0, 1):
        alone = make_alone(replace(recipe, seed=number).build(), settings, seed=0)
        alone.update([take_policies(fragment, [number])])
        ours, expected = stacked.policy_state(number)["module"], alone.get_state()["module"]
        for name in expected:
            np.testing.assert_allclose(ours[name], expected[name], rtol=0, atol=2e-5, err_msg=name)
    weight = "network.policy_head.linear.weight"
    assert np.abs(stacked.policy_state(0)["module"][weight] - first[weight]).max() > 1e-3
