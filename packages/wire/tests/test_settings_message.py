"""Settings to plain values and back, with pickles only where both sides allow them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.wire import decode_settings, encode_settings


class Mode(Enum):
    SLOW = "slow"
    FAST = "fast"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    size: int = 3
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    name: str | Callable[..., Any] = field(kw_only=False)
    rate: float | Sequence[Sequence[float]] = 0.5
    mode: Mode | Literal["slow", "fast"] = Mode.SLOW
    strict_mode: Mode = Mode.SLOW
    config: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[Callable[[Any], Any], ...] = ()
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    pair: tuple[int, str] = (0, "")
    derived: int = field(init=False, default=7)

    def __post_init__(self) -> None:
        if self.inner.size < 0:
            raise ValueError(f"size is {self.inner.size}; it must be at least 0")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.lists(children, max_size=3).map(tuple)
        | st.dictionaries(st.text().filter(lambda key: key not in {"pickled", "tuple"}), children, max_size=3)
    ),
    max_leaves=8,
)


def _is_plain(value: object) -> bool:
    if type(value) is list:
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(type(key) is str and _is_plain(child) for key, child in value.items())
    return type(value) in {str, int, float, bool, bytes, type(None)}


def test_only_what_differs_from_the_defaults_is_sent() -> None:
    assert encode_settings(Outer("a")) == {"name": "a"}
    assert encode_settings(Inner()) == {}
    assert decode_settings(Inner, {}) == Inner()


def test_enums_tuples_and_inner_settings_come_back_as_what_they_were() -> None:
    outer = Outer(
        "a",
        rate=((0, 1.0), (5, 0.0)),
        mode=Mode.FAST,
        strict_mode=Mode.FAST,
        inner=Inner(sizes=(4,)),
        maybe=Inner(size=9),
        pair=(1, "b"),
    )
    message = encode_settings(outer)
    assert message["mode"] == "fast"
    assert message["rate"] == [[0, 1.0], [5, 0.0]]
    assert message["inner"] == {"sizes": [4]}
    assert decode_settings(Outer, message) == outer


@given(config=st.dictionaries(st.text(max_size=5), PLAIN, max_size=4))
def test_a_mapping_of_the_users_comes_back_as_it_was(config: dict[str, Any]) -> None:
    message = encode_settings(Outer("a", config=config), dump=pickle.dumps)
    assert _is_plain(message)
    found = decode_settings(Outer, message, load=pickle.loads).config
    assert found == config
    assert repr(found) == repr(config)


@pytest.mark.parametrize("config", [{"pickled": b""}, {"tuple": [1]}, {"a": {1: 2}}, {"a": Mode.FAST}])
def test_what_has_no_plain_form_is_pickled_where_that_is_allowed(config: dict[str, Any]) -> None:
    message = encode_settings(Outer("a", config=config), dump=pickle.dumps)
    assert decode_settings(Outer, message, load=pickle.loads).config == config
    with pytest.raises(ValueError, match=r"setting config: .* has no plain form"):
        encode_settings(Outer("a", config=config))


def test_numbers_of_numpy_are_sent_as_plain_ones() -> None:
    message = encode_settings(Inner(size=np.int64(5), sizes=(np.int32(1),)))  # type: ignore[arg-type]
    assert message == {"size": 5, "sizes": [1]}
    assert _is_plain(message)


def test_callables_are_pickled_where_that_is_allowed() -> None:
    outer = Outer(pickle.dumps, wrappers=(len,))
    assert decode_settings(Outer, encode_settings(outer, dump=pickle.dumps), load=pickle.loads) == outer
    with pytest.raises(ValueError, match=r"setting name: .*has no plain form; use numbers, strings"):
        encode_settings(outer)


@pytest.mark.parametrize(
    "message", [{"name": {"pickled": b""}}, {"name": "a", "wrappers": [{"pickled": b""}]}]
)
def test_no_pickle_is_read_unless_the_reader_trusts_its_sender(message: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="No pickle is ever read from a network peer"):
        decode_settings(Outer, message)


def test_a_setting_of_another_release_is_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match="here knows no setting 'colour' of Inner; install the sender's release"
    ):
        decode_settings(Outer, {"name": "a", "inner": {"colour": 1}})


def test_the_release_that_lacks_a_setting_is_named() -> None:
    from outrider.wire import Limits

    with pytest.raises(ValueError, match=r"outrider-wire \d+\.\d+\.\d+ here knows no setting 'max_fun'"):
        decode_settings(Limits, {"max_fun": 1})


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"Outer came without 'name', which .* here needs"):
        decode_settings(Outer, {})


def test_an_unknown_word_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"'warp' is no Mode that .* here knows; allowed are 'slow', 'fast'"):
        decode_settings(Outer, {"name": "a", "strict_mode": "warp"})


def test_what_the_settings_themselves_refuse_is_refused() -> None:
    with pytest.raises(ValueError, match="size is -1; it must be at least 0"):
        decode_settings(Outer, {"name": "a", "inner": {"size": -1}})


def test_something_else_than_a_dictionary_is_refused() -> None:
    with pytest.raises(ValueError, match="Outer came as list; it is a dictionary of settings"):
        decode_settings(Outer, [])  # type: ignore[arg-type]
