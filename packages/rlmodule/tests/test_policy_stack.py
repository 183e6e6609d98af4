"""A stack stores policies as rows: they come, go and travel one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from outrider.rlmodule import ModuleSettings, PolicyNotExportable, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace

BOX = BoxSpace(low=np.full(4, -1, np.float32), high=np.full(4, 1, np.float32))
ROWS = {"": torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))}


def recipe(network: Any = None, **chosen: Any) -> PolicyRecipe:
    return PolicyRecipe(
        observation_space=BOX,
        action_space=DiscreteSpace(num_values=3),
        settings=ModuleSettings(**chosen),
        network=network,
        seed=0,
    )


def same(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def alone(seed: int, **chosen: Any) -> dict[str, Tensor]:
    made = recipe(**chosen)
    return (
        PolicyRecipe(observation_space=BOX, action_space=made.action_space, settings=made.settings, seed=seed)
        .build()
        .state_dict()
    )


def test_each_policy_begins_as_a_plain_one_with_its_seed() -> None:
    stack = PolicyStack(recipe(normalize_observations=True), [5, 9])
    same(stack.policy_tensors(0), dict(alone(5, normalize_observations=True)))
    same(stack.policy_tensors(1), dict(alone(9, normalize_observations=True)))
    assert stack.fingerprint() == recipe(normalize_observations=True).build().fingerprint()


def test_the_state_of_a_plain_policy_loads_into_one_place() -> None:
    stack = PolicyStack(recipe(normalize_observations=True), [1, 2, 3])
    before = [stack.policy_tensors(place) for place in range(3)]
    plain = {name: torch.full_like(tensor, 7) for name, tensor in before[1].items()}
    stack.load_policy(1, plain)
    same([stack.policy_tensors(place) for place in range(3)], [before[0], plain, before[2]])


def test_a_plain_policy_loads_what_a_stack_gives() -> None:
    stack, plain = PolicyStack(recipe(), [1, 2, 3]), recipe().build()
    plain.load_state_dict(stack.policy_tensors(2))
    made = stack.policy(2)
    same(dict(plain.state_dict()), dict(made.state_dict()))
    assert all(parameter.requires_grad for parameter in made.parameters())


def test_what_a_stack_gives_is_a_copy() -> None:
    stack = PolicyStack(recipe(), [1, 2])
    before = stack.policy_tensors(0)
    for tensor in (*stack.policy_tensors(0).values(), *stack.policy(0).state_dict().values()):
        tensor.add_(1)
    same(stack.policy_tensors(0), before)


def test_policies_join_behind_the_others_and_leave_from_anywhere() -> None:
    stack = PolicyStack(recipe(), [1, 2, 3])
    assert stack.grow([4, 5]) == range(3, 5)
    stack.remove([0, 3])
    assert stack.num_policies == 3
    assert stack.grow([6]) == range(3, 4)
    for place, seed in enumerate((2, 3, 5, 6)):
        same(stack.policy_tensors(place), dict(alone(seed)))


def test_a_stack_may_begin_empty() -> None:
    stack = PolicyStack(recipe(), [])
    assert stack.num_policies == 0
    stack.grow([7])
    same(stack.policy_tensors(0), dict(alone(7)))


def test_any_policies_in_any_order_are_computed_with_the_tensors_given() -> None:
    stack = PolicyStack(recipe(), [1, 2, 3])
    parameters, values = stack(ROWS)
    places = [2, 0, 2]
    tensors = {name: tensor[places] for name, tensor in stack.tensors.items()}
    given = stack.forward_with(tensors, {"": ROWS[""][places]})
    torch.testing.assert_close(given, (parameters[places], values[places]), rtol=0, atol=1e-6)


def test_what_is_not_a_number_stays_with_its_policy() -> None:
    stack = PolicyStack(recipe(), [1, 2, 3])
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in stack.tensors.items()}
    rows = ROWS[""].clone()
    rows[1, 0] = torch.nan
    sum(output.sum() for output in stack.forward_with(leaves, {"": rows})).backward()
    finite = torch.stack([leaf.grad.flatten(1).isfinite().all(1) for leaf in leaves.values()]).all(0)
    assert finite.tolist() == [True, False, True]


def test_tensors_left_out_are_named() -> None:
    stack = PolicyStack(recipe(), [1])
    tensors = {name: t for name, t in stack.tensors.items() if name != "network.value_head.bias"}
    with pytest.raises(ValueError, match=r"all of their tensors.*\['network.value_head.bias'\]"):
        stack.forward_with(tensors, {"": ROWS[""][:1]})


def test_the_state_of_another_architecture_is_refused_and_changes_nothing() -> None:
    stack = PolicyStack(recipe(), [1])
    with pytest.raises(ValueError, match=r"needs shape \(64, 64\), and shape \(32, 64\) came; load what a"):
        stack.load_policy(0, alone(2, fcnet_hiddens=(64, 32)))
    with pytest.raises(ValueError, match=r"needs shape .*, and no such tensor came"):
        stack.load_policy(0, {})
    same(stack.policy_tensors(0), dict(alone(1)))


def test_the_tensors_that_train_are_named() -> None:
    stack = PolicyStack(recipe(normalize_observations=True), [1])
    assert set(stack.parameter_names) == {name for name in stack.tensors if name.startswith("network.")}


def test_settings_without_effect_are_said_once(recwarn: pytest.WarningsRecorder) -> None:
    PolicyStack(recipe(lstm_cell_size=8), range(3))
    assert len(recwarn.list) == 1


class Plain(nn.Module):
    """A network of the user's own, for others to vary."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.policy, self.value = nn.Linear(4, num_action_parameters), nn.Linear(4, 1)
        self.body = nn.Identity()

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(observation)
        return self.policy(features), self.value(features).squeeze(-1)


class Deciding(Plain):
    """Decides in Python by the value of a tensor, which differs from policy to policy."""

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(-observation if observation.sum() > 0 else observation)


class Tied(Plain):
    """Uses one parameter in two places."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.body = nn.Linear(4, 4)
        self.again = self.body


class Dropping(Plain):
    """Uses random numbers, each policy its own."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.body = nn.Dropout(0.5)


class Unknown(Plain):
    """Does what torch knows, and ONNX does not."""

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(torch.erfinv(0.5 * observation))


class PartlyFixed(Plain):
    """Trains a part of its parameters."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.policy.requires_grad_(False)


@pytest.mark.parametrize(
    ("network", "chosen", "sentence"),
    [
        (
            Deciding,
            {},
            "Deciding cannot be stacked: torch.vmap says: .*data-dependent control flow.*; give each",
        ),
        (Tied, {}, "Tied uses a parameter in two places, .*; give each such policy a stack of its own"),
    ],
)
def test_what_cannot_be_stacked_is_named_with_the_cure(network: Any, chosen: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PolicyStack(recipe(network, **chosen), [1])


def test_policies_with_dropout_draw_for_themselves() -> None:
    stack = PolicyStack(recipe(Dropping), [1, 1, 1])
    values = stack({"": torch.ones(3, 50, 4)})[1]
    assert not torch.equal(values[0], values[1])


def test_making_a_stack_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    PolicyStack(recipe(Dropping), [1, 2])
    same(torch.rand(1), expected)


def test_a_parameter_that_the_user_fixed_is_not_named_for_training() -> None:
    assert PolicyStack(recipe(PartlyFixed), [1]).parameter_names == (
        "network.value.weight",
        "network.value.bias",
    )


def test_operations_that_no_graph_knows_are_named() -> None:
    stack = PolicyStack(recipe(Unknown), [1, 2])
    assert stack({"": torch.ones(2, 3, 4)})[1].shape == (2, 3)
    with pytest.raises(
        PolicyNotExportable, match=r"Unknown has no policy graph: .*erfinv.*act through torch"
    ):
        stack.policy_graph()


def test_distributions_take_stacked_rows() -> None:
    stack = PolicyStack(recipe(), [1, 2, 3])
    distribution, (parameters, _) = stack.plain.distribution, stack(ROWS)
    actions = {"": torch.arange(15).reshape(3, 5) % 3}
    stacked = (
        *distribution.log_prob_and_entropy(parameters, actions),
        distribution.kl(parameters, 2 * parameters),
    )
    for place in range(3):
        own = parameters[place]
        expected = (
            *distribution.log_prob_and_entropy(own, {"": actions[""][place]}),
            distribution.kl(own, 2 * own),
        )
        same(tuple(part[place] for part in stacked), expected)


def test_gradients_lie_as_weights_do_so_that_nobody_copies_them() -> None:
    stack = PolicyStack(recipe(), [1, 2, 3])
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in stack.tensors.items()}
    loss = sum(output.square().sum() for output in stack.forward_with(leaves, ROWS))
    gradients = torch.autograd.grad(loss, [leaf for name, leaf in leaves.items() if name.endswith("weight")])
    assert all(gradient.is_contiguous() for gradient in gradients)
