"""Settings are checked once and say what is allowed."""

import math

import pytest

from outrider.learner import LearnerGroupSettings, PPOSettings
from outrider.learner.training.schedule import value_at


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"gamma": 1.5}, "gamma is 1.5; give a finite number from 0 to 1"),
        ({"minibatch_size": 0}, "minibatch_size is 0; give a whole number from 1"),
        ({"num_epochs": 2.5}, "num_epochs is 2.5; give a whole number from 1"),
        ({"grad_clip": 0.0}, "grad_clip is 0.0; give a finite number above 0"),
        ({"kl_target": None}, "kl_target is None; give a finite number above 0"),
        ({"vf_loss_coeff": math.nan}, "vf_loss_coeff is nan; give a finite number from 0"),
        ({"lr": -1e-3}, "lr is -0.001; give a finite number at least 0"),
        ({"lr": [[0, 1e-3], [0, 1e-4]]}, "lr has its points at environment steps [0.0, 0.0]; start at 0"),
        ({"lr": [[10, 1e-3]]}, "lr has its points at environment steps [10.0]; start at 0"),
        ({"entropy_coeff": []}, "entropy_coeff is []; give a number, or pairs"),
        ({"clip_param": "big"}, "clip_param is 'big'; give a number, or pairs"),
    ],
)
def test_a_setting_out_of_range_is_refused_in_a_sentence(setting: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=r".+") as error:
        PPOSettings(**setting)  # type: ignore[arg-type]
    assert str(error.value).startswith(sentence)


def test_a_setting_without_effect_is_named() -> None:
    assert PPOSettings(kl_target=0.02).ignored() == ["kl_target is ignored; set use_kl_loss=True to use it"]
    assert PPOSettings(recompute_advantages=True, num_epochs=1).ignored() == [
        "recompute_advantages is ignored; set num_epochs above 1 to use it"
    ]
    assert not PPOSettings(kl_target=0.02, use_kl_loss=True, recompute_advantages=True).ignored()


def test_a_negative_number_of_learners_is_refused() -> None:
    with pytest.raises(ValueError, match="num_learners is -1; give a whole number from 0"):
        LearnerGroupSettings(num_learners=-1)


def test_a_schedule_runs_straight_between_its_points_and_then_stays() -> None:
    points = [[0, 4.0], [100, 2.0], [200, 3.0]]
    assert [value_at(points, steps) for steps in (0, 50, 100, 150, 200, 1000)] == [4, 3, 2, 2.5, 3, 3]


def test_a_constant_is_a_schedule() -> None:
    assert value_at(0.25, 10**9) == 0.25
