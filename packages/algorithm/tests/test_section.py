from __future__ import annotations

import inspect
from dataclasses import dataclass, field

import pytest

from outrider.algorithm.settings.section import Section


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    name: str = field(kw_only=False)
    height: int = 0

    def __post_init__(self) -> None:
        if self.height < 0:
            raise ValueError(f"height={self.height} is negative")


class Config:
    place = Section(Place)


def test_a_section_returns_the_config_and_keeps_what_it_was_given() -> None:
    config = Config()
    assert config.place("hill", height=3) is config
    assert Config.place.of(config) == Place("hill", height=3)


def test_a_second_call_replaces_only_the_fields_that_it_names() -> None:
    config = Config().place("hill", height=3).place("dale")
    assert Config.place.of(config) == Place("dale", height=3)


def test_two_configs_do_not_share_their_sections() -> None:
    Config().place("hill")
    with pytest.raises(ValueError, match=r"Config has no name; give it with \.place\(name=\.\.\.\)"):
        Config.place.of(Config())


def test_a_value_is_checked_where_it_is_given() -> None:
    config = Config().place("hill", height=3)
    with pytest.raises(ValueError, match="height=-1 is negative"):
        config.place("hill", height=-1)
    assert Config.place.of(config).height == 3


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"place\(\) has no setting 'hight'; did you mean height\?"):
        Config().place("hill", hight=3)  # type: ignore[call-arg]


def test_too_many_positional_values_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="name each setting"):
        Config().place("hill", 3)  # type: ignore[misc]


def test_assigning_a_section_says_what_to_do_instead() -> None:
    with pytest.raises(AttributeError, match=r"call config\.place\(field=value\)"):
        Config().place = Place("hill")  # type: ignore[assignment]


def test_editors_see_the_fields() -> None:
    assert list(inspect.signature(Config().place).parameters) == ["name", "height"]
