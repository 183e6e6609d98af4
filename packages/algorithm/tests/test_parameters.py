from __future__ import annotations

import numpy as np
import pytest

from outrider.algorithm import PPOConfig
from outrider.algorithm.parameters import with_parameters

BASE = PPOConfig().environment("CartPole-v1").training(lr=1e-3, num_epochs=2)


@pytest.mark.parametrize("parameters", [{"training.lr": 0.5}, {"training": {"lr": 0.5}}])
def test_a_parameter_replaces_the_setting_it_names(parameters: dict[str, object]) -> None:
    training = with_parameters(BASE, parameters).settings.training
    assert (training.lr, training.num_epochs) == (0.5, 2)


def test_the_configuration_itself_stays_as_it_was() -> None:
    with_parameters(BASE, {"training.lr": 0.5})
    assert BASE.settings.training.lr == 1e-3


def test_parameters_of_one_section_add_up() -> None:
    settings = with_parameters(BASE, {"training.lr": 0.5, "training": {"num_epochs": 7}}).settings
    assert (settings.training.lr, settings.training.num_epochs) == (0.5, 7)


def test_numbers_of_numpy_become_those_of_python() -> None:
    num_epochs = with_parameters(BASE, {"training.num_epochs": np.int64(7)}).settings.training.num_epochs
    assert type(num_epochs) is int


def test_settings_with_mappings_take_them_whole() -> None:
    given = {"environment.env_config": {"gravity": 3}}
    assert with_parameters(BASE, given).settings.environment.env_config == {"gravity": 3}


def test_an_unknown_section_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="'train' is no section of PPOConfig, did you mean training"):
        with_parameters(BASE, {"train.lr": 0.5})


def test_a_parameter_without_a_section_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'lr' is no section .* name parameters as in 'training.lr'"):
        with_parameters(BASE, {"lr": 0.5})


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="has no setting 'num_epoch'; did you mean num_epochs"):
        with_parameters(BASE, {"training.num_epoch": 3})
