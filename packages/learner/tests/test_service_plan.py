"""Plans cross to a learner service without a pickle, and networks by names that it allows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import LearnerGroupSettings, LearnerPlan, PPOSettings
from outrider.learner.service.service_plan import plan_message, read_plan
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import BoxSpace, DiscreteSpace, decode_tree, encode_tree


def plan(network: Any = None) -> LearnerPlan:
    recipe = PolicyRecipe(
        observation_space=BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(8,)),
        network=network,
        seed=5,
    )
    settings = LearnerGroupSettings(
        learner_address="127.0.0.1:1", learner_token_file="secret", num_updates_between_snapshots=3
    )
    training = PPOSettings(lr=[[0, 1e-3], [100, 0.0]])
    return LearnerPlan(algorithm="ppo", training=training, policy=recipe, settings=settings, seed=7)


def crossed(message: Any) -> Any:
    return decode_tree(encode_tree(message).to_bytes())


def test_a_plan_arrives_as_it_was_without_what_is_the_algorithms_own() -> None:
    there = read_plan(crossed(plan_message(plan())), ())
    expected = replace(plan(), settings=LearnerGroupSettings(num_updates_between_snapshots=3))
    assert there.settings == expected.settings
    assert there.to_message() == expected.to_message()
    assert "secret" not in str(plan_message(plan()))


def test_a_network_goes_by_its_name() -> None:
    message = crossed(plan_message(plan(torch.nn.Identity)))
    assert message["network"] == "torch.nn.modules.linear:Identity"
    assert read_plan(message, ["torch.nn"]).policy.network is torch.nn.Identity


def test_no_module_is_imported_that_the_service_does_not_allow() -> None:
    message = plan_message(plan()) | {"network": "antigravity:fly"}
    with pytest.raises(ValueError, match="start it with --network-module antigravity"):
        read_plan(message, ["torch", "anti"])


def test_a_network_that_is_not_there_is_refused_in_a_sentence() -> None:
    message = plan_message(plan()) | {"network": "torch:no_such_network"}
    with pytest.raises(ValueError, match="'torch:no_such_network' cannot be imported where"):
        read_plan(message, ["torch"])


@pytest.mark.parametrize("message", [{}, {"algorithm": 3}, {"algorithm": "ppo", "training": []}])
def test_what_is_no_plan_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no plan of learners|knows no algorithm|dictionary of settings"):
        read_plan(message, ())


def test_a_pickle_is_never_read() -> None:
    message = plan_message(plan())
    message["policy"]["network"] = b"\x80\x04."
    with pytest.raises(ValueError, match="No pickle is ever read"):
        read_plan(message, ["torch"])
