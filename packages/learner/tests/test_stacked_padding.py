"""What fills up the rows of a stacked policy is its own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.learner import (
    APPOSettings,
    IMPALASettings,
    PPOSettings,
    StackedAPPOLearner,
    StackedIMPALALearner,
    StackedPPOLearner,
)
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace

SPACE = BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32))
ALGORITHMS: dict[str, tuple[Any, Any]] = {
    "ppo": (StackedPPOLearner, PPOSettings(num_epochs=1)),
    "impala": (StackedIMPALALearner, IMPALASettings()),
    "appo": (StackedAPPOLearner, APPOSettings()),
}


@pytest.mark.parametrize("use_lstm", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_next_observation_that_is_not_finite_stops_no_other_policy(
    lab: Any, algorithm: str, use_lstm: bool
) -> None:
    make, settings = ALGORITHMS[algorithm]
    module = ModuleSettings(fcnet_hiddens=(4,), use_lstm=use_lstm)
    recipe = PolicyRecipe(
        observation_space=SPACE, action_space=DiscreteSpace(num_values=2), settings=module, seed=0
    )
    stacked = make(PolicyStack(recipe, [0, 1]), settings, numbers=[0, 1], seed=0)
    # Policy 0 has one next observation, and policy 1 has three.
    fragment = lab.fragment(recipe.build(), [9, 2, 2, 2], end_probability=0.0)
    fragment.next_observations[""][1:] = np.nan
    policy = np.array([0, 1, 1, 1], np.int32)
    stacked.update([replace(fragment, streams=replace(fragment.streams, policy=policy))])
    assert stacked.policy_metrics()["skipped_steps"].tolist() == [0.0, 1.0]
