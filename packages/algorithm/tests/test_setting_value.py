from __future__ import annotations

import json
import os.path
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from outrider.algorithm.settings.setting_value import FunctionNotFoundError, from_json, from_text, to_json


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def make() -> None: ...


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("10_000", int, 10_000),
        ("1e6", int | None, 1_000_000),
        ("3e-4", float, 3e-4),
        ("3", float, 3.0),
        ("none", float | None, None),
        ("5", float | None, 5.0),
        ("CartPole-v1", str, "CartPole-v1"),
        ("5", str, "5"),
        ("64,32", tuple[int, ...], (64, 32)),
        ("[64, 32]", tuple[int, ...], (64, 32)),
        ("64", tuple[int, ...], (64,)),
        ("auto", int | Literal["auto"], "auto"),
        ("7", int | Literal["auto"], 7),
        ("blue", Colour, Colour.BLUE),
        ("RED", Colour, Colour.RED),
        ("[[0, 1e-3], [100, 0]]", float | Sequence[Sequence[float]], ((0.0, 1e-3), (100.0, 0.0))),
        ('{"gravity": 9.8}', Mapping[str, Any], {"gravity": 9.8}),
        ("os.path:join", str | Callable[..., Any], "os.path:join"),
        ("os.path:join", Callable[..., Any] | None, os.path.join),
        ("plain-name", str | Callable[..., Any], "plain-name"),
        ("no.module:Id-v0", str | Callable[..., Any], "no.module:Id-v0"),
        ("os.path:join,os.path:split", tuple[Callable[[Any], Any], ...], (os.path.join, os.path.split)),
        ("true", bool | None, True),
    ],
)
def test_a_setting_is_read_as_it_is_typed(text: str, kind: object, value: object) -> None:
    assert from_text(text, kind) == value
    assert type(from_text(text, kind)) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        ("x", int, "'x' is not a whole number"),
        ("1.5", int, "'1.5' is not a whole number"),
        ("1.5e0", int, "'1.5e0' is not a whole number"),
        ("1e999", int, "'1e999' is not a whole number"),
        ("true", int, "'true' is not a whole number"),
        ("x", float | None, "'x' is not a number or none"),
        ("green", Colour, "'green' is not red or blue"),
        ("a,b", tuple[int, ...], "'a,b' is not a list of a whole number"),
        ('{"red": null,', Sequence[str] | Mapping[str, Any], "is not a list of a name or a JSON object"),
        ("[red, blue]", Sequence[str] | None, "is not a list of a name or none"),
        ("maybe", Literal["yes", "no"], "'maybe' is not yes or no"),
        ("green", Colour | Literal["blue", "pink"], "'green' is not red or blue or pink$"),
        ("math:sinn", Callable[..., Any], "'math' has no attribute 'sinn'"),
        ("math:sin,math:cosn", tuple[Callable[..., Any], ...], "'math' has no attribute 'cosn'"),
        ("no_such_module:make", Callable[..., Any], "no_such_module:make cannot be imported"),
    ],
)
def test_what_cannot_be_read_says_what_is_allowed(text: str, kind: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        from_text(text, kind)


@dataclass(frozen=True, kw_only=True)
class Inner:
    sizes: tuple[int, ...] = (1, 2)
    colour: Colour = Colour.RED


@dataclass(frozen=True, kw_only=True)
class Outer:
    make: str | Callable[..., Any] = "name"
    wrappers: tuple[Callable[[Any], Any], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    limit: float | Literal["auto"] | None = None
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    "settings",
    [
        Outer(),
        Outer(make=os.path.join, wrappers=(os.path.split,), config={"a": [1, {"b": None}]}, limit=1.0),
        Outer(limit="auto", inner=Inner(sizes=(), colour=Colour.BLUE)),
    ],
)
def test_settings_survive_json(settings: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(settings)))) == settings


def test_a_function_without_a_module_is_recorded_and_missed_when_read() -> None:
    document = json.loads(json.dumps(to_json(Outer(make=lambda: None))))
    with pytest.raises(FunctionNotFoundError, match=r"lambda.* is part of no module"):
        from_json(Outer, document)


def test_a_partial_is_recorded_by_the_name_under_which_it_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "partial_settings.py").write_text(
        "import functools\nhalve = functools.partial(pow, exp=-1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = Outer(wrappers=from_text("partial_settings:halve", tuple[Callable[[Any], Any], ...]))
    [read] = from_json(Outer, json.loads(json.dumps(to_json(settings)))).wrappers
    assert read(2) == 0.5


def test_settings_of_another_release_are_an_error() -> None:
    with pytest.raises(ValueError, match="Outer has no setting 'gone'"):
        from_json(Outer, {"gone": 1})


def test_what_cannot_be_recorded_says_so() -> None:
    with pytest.raises(ValueError, match="cannot be recorded"):
        to_json(Outer(config={"a": object()}))
