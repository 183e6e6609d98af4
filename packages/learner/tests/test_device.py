"""A learner works where its settings say, or says why it cannot."""

import pytest
import torch

from outrider.learner import LearnerGroupSettings, choose_device


def test_without_gpus_a_learner_works_on_the_cpu() -> None:
    assert choose_device(LearnerGroupSettings()) == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_named_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"num_gpus_per_learner is 1, but torch .*; set it to 0 or install"):
        choose_device(LearnerGroupSettings(num_gpus_per_learner=1))


def test_a_gpu_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(LearnerGroupSettings(num_gpus_per_learner=0.5)) == torch.device("cuda", 0)
