"""What configurations of RLlib ask for is answered with what it is called here."""

import copy
import pickle
import re
from typing import Any

import pytest

from outrider.algorithm import IMPALAConfig, PPOConfig
from outrider.algorithm.settings.section import settings_of
from outrider.algorithm.settings.settings_elsewhere import NAMES, SENTENCES, said_elsewhere

OURS = settings_of(PPOConfig)
ELSEWHERE = [name for theirs in (*NAMES.values(), *SENTENCES.values()) for name in theirs.split()]


@pytest.mark.parametrize(
    ("section", "given", "sentence"),
    [
        (
            "training",
            {"num_sgd_iter": 3},
            "training() has no setting 'num_sgd_iter'; it is training(num_epochs=...) here",
        ),
        ("training", {"train_batch_size": 3}, "it is training(train_batch_size_per_learner=...) here"),
        ("training", {"lambda": 0.9}, "it is training(lambda_=...) here"),
        ("training", {"vf_share_layers": True}, "it is rl_module(vf_share_layers=...) here"),
        ("training", {"model": {}}, "give its settings by name, as in rl_module(fcnet_hiddens=(64, 64))"),
        ("env_runners", {"num_rollout_workers": 2}, "it is env_runners(num_env_runners=...) here"),
        ("multi_agent", {"count_steps_by": "agent_steps"}, "batches count steps of the environment"),
        ("debugging", {"log_level": "WARN"}, "told by Python's logging"),
        ("training", {"gama": 0.9}, "did you mean gamma?"),
    ],
)
def test_a_setting_that_is_called_otherwise_is_named(
    section: str, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=r"has no setting") as caught:
        getattr(PPOConfig(), section)(**given)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("framework", "PPOConfig has no 'framework'; networks are of torch; leave it out"),
        ("rollouts", "it is env_runners() here"),
        ("reporting", "train() returns the metrics of an iteration; leave it out"),
        ("build_algo", "it is build() here"),
        ("lr", "it is training(lr=...) here"),
        ("trainning", "did you mean training?"),
    ],
)
def test_a_call_that_there_is_not_is_answered(name: str, sentence: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(PPOConfig(), name)
    assert sentence in str(caught.value)


def test_what_an_algorithm_has_not_is_not_recommended() -> None:
    assert said_elsewhere("sgd_minibatch_size", {"training": ["lr"]}) is None
    with pytest.raises(ValueError, match="has no setting 'use_kl_los'; known are"):
        IMPALAConfig().training(use_kl_los=True)  # type: ignore[call-arg]


def test_all_that_is_recommended_is_there_and_nothing_that_is_there_is_translated() -> None:
    assert len(ELSEWHERE) == len(set(ELSEWHERE))
    assert all(said_elsewhere(name, OURS) for name in ELSEWHERE)
    assert not {setting for settings in OURS.values() for setting in settings} & set(ELSEWHERE)
    recommended = re.findall(r"([a-z_]+)\(([a-z_]+)=", " ".join((*NAMES, *SENTENCES)))
    ours = [(section, setting) for section, setting in recommended if section in OURS]
    assert len(ours) > 20
    assert all(setting in OURS[section] for section, setting in ours)


def test_a_configuration_can_be_copied_and_pickled() -> None:
    config = PPOConfig().environment("CartPole-v1").training(lr=0.5)
    for again in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert again.settings == config.settings
    assert not hasattr(config, "_nothing")
