"""Shapes, initialisation and refusals of the networks that come with the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from outrider.rlmodule import ModuleSettings, Policy, build_policy, features
from outrider.wire import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    MultiDiscreteSpace,
    Space,
    TextSpace,
)

TWO = DiscreteSpace(num_values=2)


def box(*shape: int, low: float = -1, high: float = 1, dtype: Any = np.float32) -> BoxSpace:
    return BoxSpace(low=np.full(shape, low, dtype), high=np.full(shape, high, dtype))


def image(*shape: int) -> BoxSpace:
    return box(*shape, low=0, high=255, dtype=np.uint8)


def make(observation: Space, action: Space = TWO, **chosen: Any) -> Policy:
    return build_policy(observation, action, ModuleSettings(**chosen), seed=0)


def layers(policy: Policy, kind: type[nn.Module]) -> list[Any]:
    return [layer for layer in policy.modules() if isinstance(layer, kind)]


def test_matrices_begin_orthogonal_with_the_gains_of_ppo() -> None:
    network = make(box(4), box(3), free_log_std=False).network
    for matrix, gain in (
        (network.policy_encoder[2].weight, 2**0.5),
        (network.policy_head.linear.weight, 0.01),
        (network.value_head.weight, 1.0),
    ):
        torch.testing.assert_close(matrix @ matrix.T, gain**2 * torch.eye(len(matrix)), atol=1e-5, rtol=1e-5)
    assert all((p == 0).all() for name, p in network.named_parameters() if name.endswith("bias"))


def test_convolutions_begin_orthogonal() -> None:
    for encoder in ("nature_cnn", "impala_resnet"):
        for layer in layers(make(image(36, 36, 3), encoder=encoder), nn.Conv2d):
            matrix = layer.weight.flatten(1)
            matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
            torch.testing.assert_close(matrix @ matrix.T, 2 * torch.eye(len(matrix)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("observation", "chosen", "sentence"),
    [
        (image(480, 640, 3), {}, "an image of 480 x 640 pixels, .* has 139,460,608 weights; make it smaller"),
        (
            DictSpace(spaces={"eye": image(480, 640, 3)}),
            {},
            "it at '/eye' is an image .* has 139,460,608 weights",
        ),
        (image(480, 640, 3), {"encoder": "impala_resnet"}, "has 39,321,600 weights"),
        (box(480, 640, 3), {}, "it has 921,600 features, .* has 58,982,400 weights; .* as uint8"),
    ],
)
def test_a_picture_in_full_size_is_warned_of(
    observation: Space, chosen: dict[str, Any], sentence: str
) -> None:
    with torch.device("meta"), pytest.warns(UserWarning, match=sentence):
        features.encoder(observation, ModuleSettings(**chosen))


def test_pictures_of_a_usual_size_are_not_warned_of() -> None:
    for observation in (image(84, 84, 4), image(210, 160, 3)):  # a warning is an error in tests
        with torch.device("meta"):
            features.encoder(observation, ModuleSettings())


@pytest.mark.parametrize("free", [True, False])
def test_log_std_begins_as_asked(free: bool) -> None:
    policy = make(
        box(4), DictSpace(spaces={"a": box(2), "b": box(1)}), free_log_std=free, initial_log_std=-0.7
    )
    parameters, _ = policy({"": torch.zeros(2, 4)})
    torch.testing.assert_close(parameters, torch.tensor([[0.0, 0.0, -0.7, -0.7, 0.0, -0.7]] * 2))


def test_free_log_std_is_alike_in_all_states_and_a_made_one_is_not() -> None:
    rows = {"": torch.randn(2, 4)}
    free = make(box(4), box(1))(rows)[0][:, 1]
    made = make(box(4), box(1), free_log_std=False)(rows)[0][:, 1]
    assert free[0] == free[1]
    assert made[0] != made[1]


def test_a_made_log_std_is_clipped() -> None:
    policy = make(box(4), box(1), free_log_std=False, initial_log_std=9.0, log_std_clip_param=3.0)
    assert policy({"": torch.zeros(1, 4)})[0][0, 1] == 3.0


def test_value_shares_layers_only_when_asked() -> None:
    def reached(**chosen: Any) -> bool:
        policy = make(box(4), **chosen)
        policy({"": torch.randn(2, 4)})[1].sum().backward()
        return policy.network.policy_encoder[0].weight.grad is not None

    assert reached(vf_share_layers=True)
    assert not reached(vf_share_layers=False)


@pytest.mark.parametrize(
    ("shape", "num_channels"),
    [((84, 84, 4), 4), ((4, 84, 84), 4), ((210, 160, 3), 3), ((1, 40, 40), 1), ((84, 84, 12), 12)],
)
def test_channels_are_the_shorter_of_the_outer_axes(shape: tuple[int, ...], num_channels: int) -> None:
    first = layers(make(image(*shape), vf_share_layers=True), nn.Conv2d)[0]
    assert first.in_channels == num_channels


def test_the_same_image_gives_the_same_features_in_both_layouts() -> None:
    pixels = torch.randint(256, (2, 36, 40, 3), dtype=torch.uint8)
    last, first = make(image(36, 40, 3)), make(image(3, 36, 40))
    torch.testing.assert_close(last({"": pixels}), first({"": pixels.permute(0, 3, 1, 2)}))


def test_pixels_are_scaled_to_one() -> None:
    policy = make(box(2, low=0, high=255, dtype=np.uint8), fcnet_hiddens=())
    policy.network.value_head.weight.data = torch.tensor([[1.0, 1.0]])
    values = policy({"": torch.tensor([[255, 51]], dtype=torch.uint8)})[1]
    assert values.item() == pytest.approx(1.2)


def test_whole_numbers_become_one_hot_from_their_start() -> None:
    space = MultiDiscreteSpace(num_values=np.array([2, 3]), start=np.array([5, -1]))
    policy = make(space, fcnet_hiddens=())
    policy.network.value_head.weight.data = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]])
    values = policy({"": torch.tensor([[5, 1], [6, -1]])})[1]
    assert values.tolist() == [17.0, 6.0]


def test_auto_takes_the_resnet_for_images_too_small_for_the_other() -> None:
    assert len(layers(make(image(84, 84, 3), vf_share_layers=True), nn.Conv2d)) == 3
    assert len(layers(make(image(35, 84, 3), vf_share_layers=True), nn.Conv2d)) == 15


@pytest.mark.parametrize(
    ("observation", "chosen", "sentence"),
    [
        (TextSpace(min_length=0, max_length=3, characters="ab"), {}, "TextSpace.*allowed are Box, Discrete"),
        (DictSpace(spaces={"a": DictSpace(spaces={})}), {}, "has no leaf to learn from"),
        (box(4), {"encoder": "nature_cnn"}, "encoder='nature_cnn' needs an image.*use 'auto' or 'mlp'"),
        (
            image(20, 50, 3),
            {"encoder": "nature_cnn"},
            "at least 36 x 36 pixels.*has 20 x 50; use 'impala_resnet'",
        ),
    ],
)
def test_what_the_catalogue_cannot_read_is_refused(observation: Space, chosen: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(observation, **chosen)


def test_squashing_needs_bounds() -> None:
    with pytest.raises(ValueError, match=r"needs finite bounds.*use 'gaussian'"):
        make(box(4), box(2, high=np.inf), box_distribution="squashed_gaussian")


def test_an_action_space_without_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed are Discrete, Box of floats"):
        make(box(4), TextSpace(min_length=0, max_length=3, characters="ab"))


def test_hidden_layers_that_an_image_does_not_use_are_named() -> None:
    with pytest.warns(UserWarning, match=r"fcnet_hiddens=\(32,\) is ignored"):
        make(image(8, 8, 3), fcnet_hiddens=(32,))


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"fcnet_hiddens": (64, 0)}, "every width must be at least 1"),
        ({"lstm_cell_size": 0}, "lstm_cell_size=0 must be at least 1"),
        ({"fcnet_activation": "tan"}, "'tan' is unknown; choose one of tanh, relu"),
        ({"encoder": "resnet"}, "choose one of auto, mlp, nature_cnn, impala_resnet"),
        ({"box_distribution": "beta"}, "choose one of gaussian, squashed_gaussian"),
        ({"observation_clip": 0.0}, "observation_clip=0.0 must be above 0"),
        ({"initial_log_std": float("nan")}, "initial_log_std=nan must be finite"),
    ],
)
def test_settings_out_of_range_are_refused(chosen: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ModuleSettings(**chosen)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"lstm_cell_size": 8}, "lstm_cell_size=8 is ignored: set use_lstm=True to use it"),
        ({"observation_clip": 5.0}, "observation_clip=5.0 is ignored: set normalize_observations=True"),
        ({"reward_clip": 5.0}, "reward_clip=5.0 is ignored: set normalize_rewards=True to use it"),
        (
            {"box_distribution": "squashed_gaussian", "initial_log_std": -1.0},
            "box_distribution='squashed_gaussian', initial_log_std=-1.0 is ignored: the action space has no",
        ),
    ],
)
def test_a_setting_without_effect_is_named(chosen: Any, sentence: str) -> None:
    with pytest.warns(UserWarning, match=sentence):
        make(box(4), **chosen)


def test_a_clip_of_log_stds_that_no_network_puts_out_is_named() -> None:
    with pytest.warns(UserWarning, match="log_std_clip_param=2.0 is ignored: set free_log_std=False"):
        make(box(4), box(2), log_std_clip_param=2.0)


def test_settings_with_effect_are_not_warned_about(recwarn: pytest.WarningsRecorder) -> None:
    used = {"lstm_cell_size": 8, "observation_clip": 5.0, "reward_clip": 5.0, "log_std_clip_param": 2.0}
    switches = dict.fromkeys(("use_lstm", "normalize_observations", "normalize_rewards"), True)
    make(box(4), box(2), **used, **switches, free_log_std=False, initial_log_std=-1.0)
    assert not recwarn.list


def test_settings_take_lists_as_configuration_files_have_them() -> None:
    assert ModuleSettings(fcnet_hiddens=[32, 16]).fcnet_hiddens == (32, 16)  # type: ignore[arg-type]
