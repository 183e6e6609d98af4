"""Actions are drawn from the policy's distribution, and reach the environment in its own units."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from gymnasium.vector.utils import batch_space

from outrider.envrunner import ActionSampler
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.wire import action_heads

NUM_DRAWS = 20_000


def sampler_of(space: gym.Space[Any], box: Any = "gaussian", seed: int = 0) -> ActionSampler:
    heads = action_heads(space_from_gymnasium(space), box=box)
    return ActionSampler(heads, space, np.random.default_rng(seed))


def draw(sampler: ActionSampler, parameters: Any, num_rows: int = NUM_DRAWS) -> dict[str, Any]:
    sampler.draw_noise(1, num_rows)
    return sampler.sample(np.tile(np.array(parameters, np.float32), (num_rows, 1)))


def chi_square(counts: Any, probabilities: Any) -> float:
    expected = np.asarray(probabilities) * np.sum(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def softmax(logits: Any) -> Any:
    weights = np.exp(np.asarray(logits) - np.max(logits))
    return weights / weights.sum()


def test_indices_have_the_softmax_distribution() -> None:
    logits = [0.0, 1.0, -1.0, 2.0]
    counts = np.bincount(draw(sampler_of(gs.Discrete(4)), logits)[""], minlength=4)
    assert chi_square(counts, softmax(logits)) < 16.3  # 3 degrees of freedom, p = 0.001


def test_components_of_multi_discrete_are_independent() -> None:
    logits = [0.0, 1.0, 0.5, -0.5, 0.0]
    actions = draw(sampler_of(gs.MultiDiscrete([2, 3])), logits)[""]
    counts = np.bincount(actions[:, 0] * 3 + actions[:, 1], minlength=6)
    joint = np.outer(softmax(logits[:2]), softmax(logits[2:])).ravel()
    assert chi_square(counts, joint) < 20.5  # 5 degrees of freedom, p = 0.001


def test_ones_have_the_sigmoid_probability() -> None:
    actions = draw(sampler_of(gs.MultiBinary(2)), [1.0, -2.0])[""]
    expected = 1 / (1 + np.exp([-1.0, 2.0]))
    np.testing.assert_allclose(actions.mean(0), expected, atol=3.5 * 0.5 / math.sqrt(NUM_DRAWS))


def test_gaussian_actions_have_mean_and_deviation() -> None:
    actions = draw(sampler_of(gs.Box(-1, 1, (2,))), [0.5, -3.0, 0.0, math.log(2.0)])[""]
    np.testing.assert_allclose(actions.mean(0), [0.5, -3.0], atol=0.05)
    np.testing.assert_allclose(actions.std(0), [1.0, 2.0], rtol=0.02)


def test_a_masked_logit_is_never_drawn() -> None:
    assert (draw(sampler_of(gs.Discrete(3)), [-1e9, 0.0, 0.0], 200_000)[""] != 0).all()


def test_most_likely_actions() -> None:
    space = gs.Tuple([gs.Discrete(3), gs.MultiBinary(2), gs.Box(-1, 1, (1,))])
    parameters = np.array([[0.0, 2.0, 1.0, -0.1, 0.1, 0.25, 9.0]], np.float32)
    actions = sampler_of(space).most_likely(parameters)
    assert actions["/0"].tolist() == [1]
    assert actions["/1"].tolist() == [[0, 1]]
    assert actions["/2"].tolist() == [[0.25]]


def test_categorical_log_probability() -> None:
    parameters = np.array([[1.0, 2.0, 3.0]], np.float32)
    log_probs = sampler_of(gs.Discrete(3)).log_probs(parameters, {"": np.array([1])})
    np.testing.assert_allclose(log_probs, np.log(softmax([1, 2, 3])[1]), rtol=1e-6)


def test_categorical_log_probability_with_huge_logits() -> None:
    parameters = np.array([[1000.0, 0.0], [-1e9, 0.0]], np.float32)
    log_probs = sampler_of(gs.Discrete(2)).log_probs(parameters, {"": np.array([0, 1])})
    np.testing.assert_allclose(log_probs, [0.0, 0.0])


def test_multi_categorical_log_probability_is_a_sum() -> None:
    parameters = np.array([[0.0, 1.0, 0.5, -0.5, 0.0]], np.float32)
    log_probs = sampler_of(gs.MultiDiscrete([2, 3])).log_probs(parameters, {"": np.array([[1, 2]])})
    expected = np.log(softmax([0, 1])[1]) + np.log(softmax([0.5, -0.5, 0])[2])
    np.testing.assert_allclose(log_probs, expected, rtol=1e-6)


def test_bernoulli_log_probability() -> None:
    parameters = np.array([[1.0, -2.0]], np.float32)
    log_probs = sampler_of(gs.MultiBinary(2)).log_probs(parameters, {"": np.array([[1, 1]])})
    np.testing.assert_allclose(log_probs, -np.log1p(np.exp(-1)) - np.log1p(np.exp(2)), rtol=1e-6)


def test_gaussian_log_probability() -> None:
    parameters = np.array([[0.5, math.log(2.0)]], np.float32)
    log_probs = sampler_of(gs.Box(-1, 1, (1,))).log_probs(parameters, {"": np.array([[2.5]], np.float32)})
    np.testing.assert_allclose(log_probs, -0.5 - math.log(2.0) - 0.5 * math.log(2 * math.pi), rtol=1e-6)


@pytest.mark.parametrize("action", [0.3, -2.0, 8.0])
def test_squashed_log_probability_is_that_of_the_squashed_action(action: float) -> None:
    parameters = np.array([[0.0, 0.0]], np.float32)
    sampler = sampler_of(gs.Box(-2, 2, (1,)), "squashed_gaussian")
    log_probs = sampler.log_probs(parameters, {"": np.array([[action]], np.float32)})
    normal = -0.5 * action**2 - 0.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(log_probs, normal - math.log(1 - math.tanh(action) ** 2), rtol=1e-5)


def test_log_probabilities_take_any_leading_axes() -> None:
    sampler = sampler_of(gs.MultiDiscrete([2, 3]))
    rng = np.random.default_rng(0)
    parameters = rng.normal(size=(4, 5, 5)).astype(np.float32)
    actions = rng.integers(0, 2, (4, 5, 2))
    whole = sampler.log_probs(parameters, {"": actions})
    rows = sampler.log_probs(parameters.reshape(20, 5), {"": actions.reshape(20, 2)})
    np.testing.assert_array_equal(whole.reshape(20), rows)


def test_gaussian_actions_are_scaled_to_finite_bounds_and_clipped() -> None:
    space = gs.Box(np.array([0, -np.inf, -1], np.float32), np.array([4, np.inf, np.inf], np.float32))
    actions = np.array([[0.5, 7.0, -3.0], [-2.0, -7.0, 3.0]], np.float32)
    value = sampler_of(space).to_environment({"": actions})
    np.testing.assert_array_equal(value, [[3.0, 7.0, -1.0], [0.0, -7.0, 3.0]])


def test_squashed_actions_are_scaled_to_the_bounds() -> None:
    space = gs.Box(np.array([0.0]), np.array([4.0]), dtype=np.float64)
    value = sampler_of(space, "squashed_gaussian").to_environment({"": np.array([[0.5]], np.float32)})
    np.testing.assert_allclose(value, [[2 + 2 * np.tanh(0.5)]], rtol=1e-6)
    assert value.dtype == np.float64


def test_squashing_needs_finite_bounds() -> None:
    with pytest.raises(ValueError, match="infinite bounds"):
        sampler_of(gs.Box(-np.inf, 1, (1,)), "squashed_gaussian")


def test_indices_start_where_the_space_starts() -> None:
    assert sampler_of(gs.Discrete(3, start=5)).to_environment({"": np.array([0, 2])}).tolist() == [5, 7]
    multi = gs.MultiDiscrete([2, 2], start=[1, -1])
    assert sampler_of(multi).to_environment({"": np.array([[0, 1]])}).tolist() == [[1, 0]]


SPACES = [
    gs.Discrete(3, start=-1),
    gs.MultiDiscrete([[2, 3], [4, 1]]),
    gs.MultiBinary((2, 2)),
    gs.Box(-2, 3, (2, 2), np.float64),
    gs.Dict({"a": gs.Discrete(2), "b": gs.Tuple([gs.Box(0, 1, (3,)), gs.MultiBinary(2)])}),
    gs.Tuple([gs.Dict({"x": gs.Discrete(4, start=1)}), gs.MultiDiscrete([2, 2])]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_action_belongs_to_the_vector_environments_space(space: gym.Space[Any]) -> None:
    num_parameters = action_heads(space_from_gymnasium(space))[-1].stop
    sampler = sampler_of(space)
    parameters = np.random.default_rng(0).normal(0, 2, (6, num_parameters)).astype(np.float32)
    sampler.draw_noise(3, 6)
    for _ in range(3):
        assert sampler.to_environment(sampler.sample(parameters)) in batch_space(space, 6)


def test_the_same_generator_draws_the_same_actions() -> None:
    first, second, other = (draw(sampler_of(gs.Discrete(5), seed=s), [0.0] * 5, 50)[""] for s in (1, 1, 2))
    assert first.tolist() == second.tolist() != other.tolist()


def test_a_restored_generator_goes_on_where_it_was() -> None:
    sampler, restored = sampler_of(gs.Discrete(5), seed=1), sampler_of(gs.Discrete(5), seed=2)
    draw(sampler, [0.0] * 5, 10)
    restored.set_state(sampler.get_state())
    assert draw(sampler, [0.0] * 5, 50)[""].tolist() == draw(restored, [0.0] * 5, 50)[""].tolist()


def test_heads_of_another_space_are_refused() -> None:
    heads = action_heads(space_from_gymnasium(gs.Tuple([gs.Discrete(2)])))
    with pytest.raises(ValueError, match="make both from one environment"):
        ActionSampler(heads, gs.Discrete(2), np.random.default_rng(0))


def test_heads_with_another_number_of_values_are_refused() -> None:
    heads = action_heads(space_from_gymnasium(gs.Discrete(3)))
    with pytest.raises(ValueError, match=r"has \[\('', \(2,\), \(\)\)\]; make both from one environment"):
        ActionSampler(heads, gs.Discrete(2), np.random.default_rng(0))


def test_bounds_at_the_ends_of_their_dtype_are_no_bounds() -> None:
    most = np.finfo(np.float32).max
    sampler = sampler_of(gs.Box(-most, most, (1,)))
    assert sampler.to_environment({"": np.float32([[0.5]])}).tolist() == [[0.5]]


@pytest.mark.parametrize(
    "space", [gym.spaces.MultiDiscrete([3, 2]), gym.spaces.MultiBinary(3), gym.spaces.Box(-1, 1, (2,))]
)
@pytest.mark.parametrize("box", ["gaussian", "squashed_gaussian"])
def test_no_rows_have_no_log_probabilities(space: gym.Space[Any], box: Any) -> None:
    heads = action_heads(space_from_gymnasium(space), box=box)
    sampler = ActionSampler(heads, space, np.random.default_rng(0))
    nothing = np.zeros((0, heads[-1].stop), np.float32)
    assert sampler.log_probs(nothing, sampler.most_likely(nothing)).shape == (0,)
