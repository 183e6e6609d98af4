"""What a run says of its learner service is checked before anything starts."""

from pathlib import Path

import pytest

from outrider.learner import LearnerGroupSettings
from outrider.learner.service.service_security import client_security


def test_what_belongs_to_a_service_is_ignored_without_one() -> None:
    assert LearnerGroupSettings(learner_insecure=True).ignored() == [
        "learner_insecure is ignored; set learner_address, or leave it out"
    ]
    assert not LearnerGroupSettings(learner_insecure=True, learner_address="gpu:1").ignored()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"learner_address": ""}, "learner_address is ''; give a text that is not empty"),
        ({"learner_address": "gpu:1", "learner_tls_key": "key.pem"}, "give both or none"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        LearnerGroupSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "insecure", "is_plain"),
    [
        ("127.0.0.1:1", False, True),
        ("unix:socket", False, True),
        ("gpu:1", False, False),
        ("gpu:1", True, True),
    ],
)
def test_tls_is_used_where_the_service_is_on_another_machine(
    address: str, insecure: bool, is_plain: bool
) -> None:
    settings = LearnerGroupSettings(learner_address=address, learner_insecure=insecure)
    assert client_security(settings, {}).insecure == is_plain


def test_the_token_is_read_from_its_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    settings = LearnerGroupSettings(learner_address="gpu:1", learner_token_file=str(tmp_path / "token"))
    assert client_security(settings, {"OUTRIDER_TOKEN": "other"}).token == "from-a-file"
    settings = LearnerGroupSettings(learner_address="gpu:1")
    assert client_security(settings, {"OUTRIDER_TOKEN": "from-there"}).token == "from-there"
