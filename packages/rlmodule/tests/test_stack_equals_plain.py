"""A policy computes the same in a stack as alone, whatever it sees, does and is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from outrider.rlmodule import CRITIC_PATH, ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    TupleSpace,
    action_heads,
)

NUM_POLICIES, NUM_ROWS = 4, 3
pytestmark = pytest.mark.filterwarnings("ignore:.* is ignored:UserWarning")

shapes = st.sampled_from([(), (1,), (3,), (2, 2)])


def box(shape: tuple[int, ...], low: float, high: float, dtype: Any) -> BoxSpace:
    return BoxSpace(low=np.full(shape, low, dtype), high=np.full(shape, high, dtype))


floats = st.builds(box, shapes, st.just(-2), st.just(5), st.sampled_from([np.float32, np.float64]))
discrete = st.builds(DiscreteSpace, num_values=st.integers(1, 4), start=st.integers(-2, 2))
multi_discrete = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(
    lambda n: MultiDiscreteSpace(num_values=np.array(n), start=np.full(len(n), -1))
)
multi_binary = st.builds(MultiBinarySpace, shape=st.sampled_from([(2,), (2, 3)]))
whole = st.one_of(
    st.builds(box, shapes, st.just(0), st.just(200), st.just(np.uint8)),
    st.builds(box, shapes, st.just(-1), st.just(3), st.just(np.int32)),
)
actions = st.one_of(floats, discrete, multi_discrete, multi_binary)
observed = st.one_of(floats, whole, discrete, multi_discrete, multi_binary)


def nested(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    tuples = st.lists(leaf, min_size=1, max_size=3).map(lambda spaces: TupleSpace(spaces=tuple(spaces)))
    return st.one_of(
        leaf, tuples, tuples.flatmap(lambda t: leaf.map(lambda x: DictSpace(spaces={"a/": t, "b": x})))
    )


@st.composite
def recipes(draw: Any) -> PolicyRecipe:
    """Every kind of space, and every setting of the feed-forward network."""
    observation, action = draw(nested(observed)), draw(nested(actions))
    chosen = ModuleSettings(
        fcnet_hiddens=draw(st.sampled_from([(), (5,), (6, 4)])),
        fcnet_activation=draw(st.sampled_from(["tanh", "relu", "silu", "gelu", "elu"])),
        encoder=draw(st.sampled_from(["auto", "mlp"])),
        vf_share_layers=draw(st.booleans()),
        free_log_std=draw(st.booleans()),
        initial_log_std=draw(st.sampled_from([0.0, -1.0])),
        log_std_clip_param=draw(st.sampled_from([20.0, 0.5])),
        box_distribution=draw(st.sampled_from(["gaussian", "squashed_gaussian"])),
        normalize_observations=draw(st.booleans()),
        normalize_rewards=draw(st.booleans()),
    )
    categorical = [head for head in action_heads(action) if head.kind == "categorical"]
    if len(categorical) == 1 and draw(st.booleans()):
        mask = MultiBinarySpace(shape=(sum(categorical[0].sizes),))
        observation = DictSpace(spaces={"seen": observation, "action_mask": mask})
    central = not chosen.vf_share_layers and draw(st.booleans())
    return PolicyRecipe(
        observation_space=observation,
        action_space=action,
        settings=chosen,
        seed=0,
        critic_space=draw(nested(observed)) if central else None,
    )


def rows_of(recipe: PolicyRecipe, sample: Any, seed: int = 0) -> dict[str, Tensor]:
    """Draw what each of the policies sees, {path: [P, B, ...]}."""
    drawn = sample(recipe.observation_space, NUM_POLICIES * NUM_ROWS, seed)
    if recipe.critic_space is not None:
        beside = sample(recipe.critic_space, NUM_POLICIES * NUM_ROWS, seed + 1)
        drawn |= {f"{CRITIC_PATH}{path}": column for path, column in beside.items()}
    return {
        path: torch.from_numpy(np.array(column)).reshape(NUM_POLICIES, NUM_ROWS, *column.shape[1:])
        for path, column in drawn.items()
    }


def shaken(recipe: PolicyRecipe, sample: Any) -> PolicyStack:
    """Make a stack whose weights and statistics are far from their first ones; one policy has seen no row."""
    stack = PolicyStack(recipe, range(NUM_POLICIES))
    generator = torch.Generator().manual_seed(7)
    for name in stack.parameter_names:
        tensor = stack.tensors[name]
        num_in = tensor[0, 0].numel() if tensor.dim() > 2 else 1
        tensor += 0.3 * torch.randn(tensor.shape, generator=generator) / num_in**0.5
    normalizer = stack.observation_normalizer(stack.tensors)
    if normalizer is not None:
        is_row = torch.tensor([[True, True, True], [True, False, True], [False] * 3, [True] * 3])
        normalizer.merge(normalizer.measure_stacked(rows_of(recipe, sample, 5), is_row))
    return stack


def close(a: Tensor, b: Tensor, tolerance: float) -> None:
    """Compare to a share of the largest number, or of 1: sums are rounded in another order."""
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, float(b.detach().abs().max())))


def check_equal(recipe: PolicyRecipe, sample: Any, tolerance: float = 4e-6) -> None:
    """Compare outputs, and gradients of a loss over some of the policies in another order.

    Layers before the last hold numbers of about 10: the largest difference in 1,200 cases was 1.1e-6.
    """
    stack, rows = shaken(recipe, sample), rows_of(recipe, sample)
    parameters, values = stack(rows)
    for place in range(NUM_POLICIES):
        own_rows = {path: column[place] for path, column in rows.items()}
        own_parameters, own_values = stack.policy(place)(own_rows)
        close(parameters[place], own_parameters, tolerance)
        close(values[place], own_values, tolerance)
    places = [3, 0]
    leaves = {name: tensor[places].clone() for name, tensor in stack.tensors.items()}
    for name in stack.parameter_names:
        leaves[name].requires_grad_()
    some_rows = {path: column[places] for path, column in rows.items()}
    sum(output.square().sum() for output in stack.forward_with(leaves, some_rows)).backward()
    for index, place in enumerate(places):
        policy = stack.policy(place)
        own_rows = {path: column[index] for path, column in some_rows.items()}
        own = {name: p.detach().clone().requires_grad_() for name, p in policy.named_parameters()}
        sum(output.square().sum() for output in functional_call(policy, own, (own_rows,))).backward()
        for name, leaf in own.items():
            stacked = leaves[name].grad
            assert (stacked is None) == (leaf.grad is None)
            if stacked is not None:
                # Saturated units give gradients that are small differences of large numbers.
                close(stacked[index], leaf.grad, 10 * tolerance)


@given(recipes())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_policy_computes_and_learns_in_a_stack_as_alone(sample: Any, recipe: PolicyRecipe) -> None:
    check_equal(recipe, sample)


def check_graph(recipe: PolicyRecipe, sample: Any) -> None:
    """Compare the stack's graph, with other numbers of policies and rows than it was made of, to torch."""
    stack, rows = shaken(recipe, sample), rows_of(recipe, sample)
    graph = stack.policy_graph()
    assert graph.is_stacked
    session = onnxruntime.InferenceSession(graph.model)
    assert not any(CRITIC_PATH in node.name.split("/")[0] for node in session.get_inputs())
    for num_policies, num_rows in ((NUM_POLICIES, NUM_ROWS), (1, 1), (NUM_POLICIES, 1), (1, NUM_ROWS)):
        part = {path: column[:num_policies, :num_rows] for path, column in rows.items()}
        tensors = {name: tensor[:num_policies] for name, tensor in stack.tensors.items()}
        offered = {f"observation{path}": column for path, column in part.items()}
        offered |= {f"weights/{name}": tensor for name, tensor in tensors.items()}
        feed = {node.name: offered[node.name].numpy() for node in session.get_inputs()}
        (parameters,) = session.run(["action_parameters"], feed)
        with torch.no_grad():
            expected, _ = stack.forward_with(tensors, part)
        np.testing.assert_allclose(parameters, expected, atol=2e-5, rtol=2e-5)


@given(recipes())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_graph_of_a_stack_computes_what_torch_does(sample: Any, recipe: PolicyRecipe) -> None:
    check_graph(recipe, sample)


IMAGES = {
    "nature_cnn": box((36, 36, 2), 0, 255, np.uint8),
    "impala_resnet": box((2, 6, 7), 0, 255, np.uint8),
    "auto": DictSpace(spaces={"pixels": box((8, 8, 1), 0, 255, np.uint8), "x": box((2,), -1, 1, np.float32)}),
}


@pytest.mark.parametrize("encoder", IMAGES)
def test_policies_that_see_images_compute_learn_and_act_in_a_stack_as_alone(
    sample: Any, encoder: Any
) -> None:
    recipe = PolicyRecipe(
        observation_space=IMAGES[encoder],
        action_space=DiscreteSpace(num_values=3),
        settings=ModuleSettings(encoder=encoder, normalize_observations=encoder == "auto"),
        seed=0,
    )
    check_equal(recipe, sample, 1e-5)  # 15 convolutions one after the other
    check_graph(recipe, sample)


class Gated(nn.Module):
    """A network of the user's own, with constants in a buffer and operations that no layer is for."""

    weight: Tensor

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU())
        self.policy, self.value = nn.Linear(6, num_action_parameters), nn.Linear(6, 1)
        self.register_buffer("weight", torch.rand(6))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(observation) * torch.softmax(self.weight, 0)
        return self.policy(features), torch.einsum("bf,f->b", features, self.value.weight[0])


def test_a_network_of_the_users_computes_learns_and_acts_in_a_stack_as_alone(sample: Any) -> None:
    recipe = PolicyRecipe(
        observation_space=box((4,), -1, 1, np.float32),
        action_space=DiscreteSpace(num_values=3),
        settings=ModuleSettings(normalize_observations=True),
        network=Gated,
        seed=0,
    )
    check_equal(recipe, sample)
    check_graph(recipe, sample)
