"""A central critic values by more than its policy sees; acting goes without."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from outrider.rlmodule import (
    CRITIC_PATH,
    ModuleSettings,
    Policy,
    PolicyRecipe,
    build_policy,
    export_graph,
    export_standalone,
)
from outrider.wire import BoxSpace, DictSpace, DiscreteSpace, MultiBinarySpace, Space

TWO = DiscreteSpace(num_values=2)


def box(*shape: int, dtype: Any = np.float32) -> BoxSpace:
    return BoxSpace(low=np.full(shape, 0, dtype), high=np.full(shape, 9, dtype))


THREE, FIVE = box(3), box(5)


def make(
    critic: Space | None = FIVE, observation: Space = THREE, *, network: Any = None, **chosen: Any
) -> Policy:
    return build_policy(
        observation, TWO, ModuleSettings(**chosen), seed=0, network=network, critic_space=critic
    )


def rows(num_rows: int = 4, **others: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"": torch.rand(num_rows, 3, generator=generator), CRITIC_PATH: torch.rand(num_rows, 5), **others}


def test_values_follow_the_critics_leaf_and_the_observation_and_actions_the_observation_alone() -> None:
    policy, seen = make(), rows()
    parameters, values = policy(seen)
    other_parameters, other_values = policy({**seen, CRITIC_PATH: seen[CRITIC_PATH] + 1})
    torch.testing.assert_close(other_parameters, parameters, rtol=0, atol=0)
    assert (other_values != values).all()
    assert (policy({**seen, "": seen[""] + 1})[1] != values).all()


def test_actions_are_those_of_the_policy_that_has_no_such_critic() -> None:
    seen = rows()
    expected, _ = make(None)({"": seen[""]})
    torch.testing.assert_close(make()(seen)[0], expected, rtol=0, atol=0)


def test_acting_needs_no_more_than_the_observation_and_values_nothing() -> None:
    policy, seen = make(), rows()
    parameters, values = policy({"": seen[""]})
    torch.testing.assert_close(parameters, policy(seen)[0], rtol=0, atol=0)
    assert values.isnan().all()


@pytest.mark.parametrize("use_lstm", [False, True])
def test_graphs_do_not_know_the_critic(use_lstm: bool) -> None:
    policy = make(use_lstm=use_lstm, normalize_observations=True)
    for model in (export_graph(policy).model, export_standalone(policy)):
        session = onnxruntime.InferenceSession(model)
        inputs = {node.name: node.shape for node in session.get_inputs() if "weights/" not in node.name}
        assert inputs == {"observation": ["B", 3]} | {
            f"state/{name}": ["B", 64] for name in policy.state_spec
        }
        feed = {name: np.ones((5, *shape[1:]), np.float32) for name, shape in inputs.items()}
        feed |= {
            node.name: policy.state_dict()[node.name.removeprefix("weights/")].numpy()
            for node in session.get_inputs()
            if "weights/" in node.name
        }
        state = {name: torch.ones(5, 64) for name in policy.state_spec}
        with torch.no_grad():
            expected, *_ = policy.step({"": torch.ones(5, 3)}, state)
        np.testing.assert_allclose(session.run(["action_parameters"], feed)[0], expected, atol=1e-6)


def test_a_central_critic_of_a_recurrent_policy_remembers_nothing() -> None:
    policy = make(use_lstm=True)
    assert list(policy.state_spec) == ["h", "c"]
    starts = torch.zeros(2, 3, dtype=torch.bool)
    state = {name: torch.zeros(2, 64) for name in policy.state_spec}
    sequence = {"": torch.rand(2, 3, 3), CRITIC_PATH: torch.rand(2, 3, 5)}
    parameters, values = policy.forward_sequence(sequence, state, starts)
    for t in range(3):
        step = {path: column[:, t] for path, column in sequence.items()}
        step_parameters, step_values, state = policy.step(step, state)
        torch.testing.assert_close(parameters[:, t], step_parameters)
        torch.testing.assert_close(values[:, t], step_values)
    assert policy.forward_sequence({"": sequence[""]}, state, starts)[1].isnan().all()


def test_a_critic_reads_every_leaf_of_a_nested_space_and_no_action_mask_of_the_policys() -> None:
    critic = DictSpace(spaces={"board": MultiBinarySpace(shape=(2, 2)), "turn": TWO})
    observation = DictSpace(spaces={"x": box(3), "action_mask": MultiBinarySpace(shape=(2,))})
    policy = make(critic, observation)
    assert policy.network.value_encoder[1].in_features == 3 + 4 + 2
    seen = {
        "/x": torch.rand(1, 3),
        "/action_mask": torch.ones(1, 2),
        f"{CRITIC_PATH}/board": torch.zeros(1, 2, 2),
        f"{CRITIC_PATH}/turn": torch.zeros(1, dtype=torch.int64),
    }
    before = policy(seen)[1]
    for path in (f"{CRITIC_PATH}/board", f"{CRITIC_PATH}/turn"):
        assert policy({**seen, path: seen[path] + 1})[1] != before


def test_a_critic_beside_an_image_has_hidden_layers_of_its_own() -> None:
    policy = make(box(5), box(8, 8, 1, dtype=np.uint8), encoder="impala_resnet")
    parameters, values = policy({"": torch.zeros(2, 8, 8, 1), CRITIC_PATH: torch.rand(2, 5)})
    assert (parameters.shape, values.shape) == ((2, 2), (2,))
    assert policy.network.value_head.in_features == 64


def test_what_a_critic_sees_is_normalised_too() -> None:
    policy = make(normalize_observations=True)
    assert policy.observation_normalizer is not None
    measured = policy.observation_normalizer.measure(rows(4))
    assert set(measured) == {"", CRITIC_PATH}
    policy.observation_normalizer.merge(measured)
    assert set(policy.observation_normalizer.measure({"": torch.rand(2, 3)})) == {""}
    seen = rows()
    scaled = {**seen, CRITIC_PATH: policy.observation_normalizer.leaves[1](seen[CRITIC_PATH])}
    plain = make()
    plain.load_state_dict({k: t for k, t in policy.state_dict().items() if k.startswith("network")})
    scaled[""] = policy.observation_normalizer.leaves[0](seen[""])
    torch.testing.assert_close(policy(seen), plain(scaled))


def test_a_fingerprint_depends_on_what_the_critic_sees() -> None:
    higher = BoxSpace(low=FIVE.low, high=2 * FIVE.high)
    spaces = (None, FIVE, box(6), higher, DictSpace(spaces={"a": FIVE}))
    assert len({make(critic).fingerprint() for critic in spaces}) == len(spaces)


def test_a_recipe_carries_what_the_critic_sees() -> None:
    recipe = PolicyRecipe(
        observation_space=box(3), action_space=TWO, settings=ModuleSettings(), seed=4, critic_space=box(5)
    )
    read = PolicyRecipe.from_message(recipe.to_message())
    assert read.build().fingerprint() == recipe.build().fingerprint() == make().fingerprint()
    torch.testing.assert_close(dict(read.build().state_dict()), dict(recipe.build().state_dict()))


def test_a_recipe_without_such_a_critic_is_the_message_that_it_was_before() -> None:
    recipe = PolicyRecipe(observation_space=box(3), action_space=TWO, settings=ModuleSettings(), seed=4)
    assert set(recipe.to_message()) == {"observation_space", "action_space", "settings", "seed"}


def test_shared_layers_leave_a_central_critic_nothing_to_see_with() -> None:
    with pytest.raises(ValueError, match="vf_share_layers=True leaves a central critic no layers of its own"):
        make(vf_share_layers=True)


class Own(nn.Module):
    """A network of the user's own with a critic."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.policy, self.value = nn.Linear(3, num_action_parameters), nn.Linear(3 + 5, 1)

    def forward(self, observation: Tensor, critic: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(observation), self.value(torch.cat((observation, critic), -1)).squeeze(-1)


class Remembering(Own):
    """The same with a state."""

    def initial_state(self) -> dict[str, Tensor]:
        return {"sum": torch.zeros(3)}

    def forward(self, observation: Tensor, state: dict[str, Tensor], critic: Tensor) -> Any:  # type: ignore[override]
        total = state["sum"] + observation
        return *super().forward(total, critic), {"sum": total}


def test_a_network_of_the_users_gets_what_the_critic_sees_last() -> None:
    policy, seen = make(network=Own), rows()
    parameters, values = policy(seen)
    expected = policy.network(seen[""], seen[CRITIC_PATH])
    torch.testing.assert_close((parameters, values), expected)
    torch.testing.assert_close(policy({"": seen[""]})[0], parameters)
    session = onnxruntime.InferenceSession(export_graph(policy).model)
    assert CRITIC_PATH not in str([node.name for node in session.get_inputs()])


def test_a_recurrent_network_of_the_users_gets_what_the_critic_sees_at_each_step() -> None:
    policy = make(network=Remembering)
    sequence = {"": torch.ones(1, 2, 3), CRITIC_PATH: torch.rand(1, 2, 5)}
    state = {"sum": torch.zeros(1, 3)}
    _, values = policy.forward_sequence(sequence, state, torch.zeros(1, 2, dtype=torch.bool))
    totals = torch.tensor([[[1.0] * 3, [2.0] * 3]])
    expected = policy.network.value(torch.cat((totals, sequence[CRITIC_PATH]), -1)).squeeze(-1)
    torch.testing.assert_close(values, expected)
