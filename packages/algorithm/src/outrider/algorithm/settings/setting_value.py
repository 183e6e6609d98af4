"""Values of settings between Python, JSON and the command line.

The annotation of a dataclass's field decides what a value may be: numbers, strings, enums, literals,
tuples and lists of them, mappings, and functions, which are written as "module:name".
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

FUNCTION = "function"
"""Key under which JSON names a function."""
IMPORTED: dict[int, tuple[Any, str]] = {}
"""What was imported as "module:name", by its id: a partial does not know its own name."""
_TYPES: dict[type[Any], Mapping[str, Any]] = {}

WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a name",
    bool: "true or false",
    type(None): "none",
    Mapping: "a JSON object",
    dict: "a JSON object",
}


class FunctionNotFoundError(ValueError):
    """A recorded function that cannot be imported again."""


def field_types(settings: type[Any]) -> Mapping[str, Any]:
    """Return the annotation of each field of a dataclass, resolved, which takes 0.2 ms the first time."""
    if settings not in _TYPES:
        hints = get_type_hints(settings)
        _TYPES[settings] = MappingProxyType({field.name: hints[field.name] for field in fields(settings)})
    return _TYPES[settings]


def to_json(value: Any) -> Any:  # noqa: ANN401 - whatever a setting may hold
    """Write a setting, or a dataclass of them, in what JSON knows."""
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): to_json(child) for key, child in value.items()}
        case list() | tuple():
            return [to_json(child) for child in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
        case _ if callable(value):
            return {FUNCTION: function_name(value), "was": repr(value)}
    raise ValueError(
        f"setting {value!r} cannot be recorded; use numbers, strings, lists, mappings and functions"
    )


def from_json(settings: type[Any], document: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an instance of it
    """Read a dataclass back from what `to_json` wrote. Settings that are gone are an error."""
    hints = field_types(settings)
    given = {}
    for name, value in document.items():
        if name not in hints:
            raise ValueError(f"{settings.__name__} has no setting {name!r}; another release recorded it")
        kind = hints[name]
        nested = inspect.isclass(kind) and is_dataclass(kind)
        given[name] = from_json(kind, value) if nested else convert(value, kind)
    return settings(**given)


def from_text(text: str, kind: Any) -> Any:  # noqa: ANN401 - an annotation, and what it allows
    """Read a setting as one types it: 3e-4, 64,64, none, [[0, 3e-4], [500000, 0]], module:name.

    Raises ValueError, which says what is allowed.
    """
    for candidate in _readings(text):
        with suppress(ValueError):
            return convert(candidate, kind)
    parts = [text] if any(map(_is_callable, _members(kind))) else []
    if _is_list(kind) and _is_callable(get_args(kind)[0]):
        parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if ":" in part:
            _as_function(part)  # says why it cannot be imported
    raise ValueError(f"{text!r} is not {describe(kind)}")


def convert(value: Any, kind: Any) -> Any:  # noqa: ANN401 - an annotation, and what it allows
    """Return `value` as the annotation `kind` wants it. Raises ValueError."""
    members = _members(kind)
    if len(members) > 1:
        if isinstance(value, str) and ":" in value and any(map(_is_callable, members)):
            if str in members:
                return value  # a name travels, and says more than the function
            found = _function(value)
            if not isinstance(found, FunctionNotFoundError):
                return found
        for member in members:
            with suppress(ValueError):
                return convert(value, member)
        if isinstance(value, Mapping) and FUNCTION in value:
            return _recorded_function(value)
        raise ValueError(f"{value!r} is not {describe(kind)}")
    return _convert_one(value, kind)


def describe(kind: Any) -> str:  # noqa: ANN401 - an annotation
    """Say in words what an annotation allows."""
    members = _members(kind)
    if len(members) > 1:
        words = (word for member in members for word in describe(member).split(" or "))
        return " or ".join(dict.fromkeys(words))
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if _is_enum(kind):
        return " or ".join(str(member.value) for member in kind)
    if _is_list(kind):
        return f"a list of {describe(get_args(kind)[0])}"
    return "module:function" if _is_callable(kind) else WORDS.get(get_origin(kind) or kind, str(kind))


def function_name(function: Callable[..., Any]) -> str | None:
    """Return "module:name" if the function can be found under it again, else None."""
    if id(function) in IMPORTED:
        return IMPORTED[id(function)][1]
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or module == "__main__":
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is function else None


def _convert_one(value: Any, kind: Any) -> Any:  # noqa: ANN401 - an annotation, and what it allows
    if _is_callable(kind):
        return _as_function(value)
    if _is_enum(kind):
        return _member(value, kind)
    if _is_list(kind):
        if isinstance(value, (list, tuple)):
            return _tuple(value, get_args(kind))
    elif _accepts(value, kind):
        return float(value) if kind is float else value
    raise ValueError(f"{value!r} is not {describe(kind)}")


def _accepts(value: Any, kind: Any) -> bool:  # noqa: ANN401 - an annotation, and what it may allow
    if isinstance(value, bool):
        return kind in {bool, Any} or (get_origin(kind) is Literal and value in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is float:
        return isinstance(value, (int, float))
    return kind is Any or isinstance(value, get_origin(kind) or kind)


def _tuple(values: Sequence[Any], kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert each item: all alike (tuple[int, ...], Sequence[int]) or each its own (tuple[int, str])."""
    if len(kinds) == 1 or kinds[-1] is ...:
        kinds = (kinds[0],) * len(values)
    if len(kinds) != len(values):
        raise ValueError(f"{values!r} has {len(values)} items, not {len(kinds)}")
    return tuple(convert(value, kind) for value, kind in zip(values, kinds, strict=True))


def _member(value: Any, kind: type[Enum]) -> Enum:  # noqa: ANN401 - a member, its value or its name
    for member in kind:
        words = {str(member.value).lower(), member.name.lower()}
        if value is member or value == member.value or (isinstance(value, str) and value.lower() in words):
            return member
    raise ValueError(f"{value!r} is not {describe(kind)}")


def _as_function(value: Any) -> Any:  # noqa: ANN401 - a function or how it is written
    if callable(value):
        return value
    if isinstance(value, Mapping) and FUNCTION in value:
        return _recorded_function(value)
    if isinstance(value, str) and ":" in value:
        found = _function(value)
        if isinstance(found, FunctionNotFoundError):
            raise found
        return found
    raise ValueError(f"{value!r} is not module:function")


def _recorded_function(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a function
    name = value[FUNCTION]
    if name is None:
        raise FunctionNotFoundError(f"{value.get('was')} is part of no module that could be imported again")
    found = _function(name)
    if isinstance(found, FunctionNotFoundError):
        raise found
    return found


def _function(text: str) -> Any:  # noqa: ANN401 - a function, or the error that says why not
    module, _, name = text.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        return FunctionNotFoundError(f"{text} cannot be imported ({error}); correct the name")
    except (ImportError, ValueError) as error:
        return FunctionNotFoundError(f"{text} cannot be imported ({error}); put its module on PYTHONPATH")
    IMPORTED[id(found)] = (found, text)
    return found


def _members(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401 - an annotation
    """Return the members of a union that can be written, those that accept least first."""
    if get_origin(kind) not in {Union, types.UnionType}:
        return (kind,)
    written = [member for member in get_args(kind) if not _is_object(member)]
    return tuple(sorted(written, key=lambda member: member is str))


def _is_object(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    """Tell whether values of this kind exist in Python only; the settings turn them into plain ones."""
    origin = get_origin(kind) or kind
    is_plain = origin in WORDS or _is_enum(kind) or _is_list(kind) or _is_callable(kind)
    return inspect.isclass(origin) and not is_plain


def _is_enum(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return inspect.isclass(kind) and issubclass(kind, Enum)


def _is_list(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return get_origin(kind) in {tuple, list, Sequence}


def _is_callable(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return get_origin(kind) is Callable or kind in {Callable, typing.Callable}


def _readings(text: str) -> Iterator[Any]:
    for read in (json.loads, int, float, _whole):
        with suppress(ValueError):
            yield read(text)
    yield from {"true": (True,), "false": (False,), "none": (None,)}.get(text.lower(), ())
    yield text
    if text.lstrip().startswith(("{", "[")):
        return  # JSON with a mistake, which is no list of names
    parts = [part.strip() for part in text.split(",") if part.strip()]
    yield [_scalar(part) for part in parts]
    yield parts


def _whole(text: str) -> int:
    """Read 1e6 as one million. Raises ValueError for 1.5e0, and for 1.0, which nobody types for a count."""
    number = float(text)
    if "e" not in text.lower() or not number.is_integer():
        raise ValueError(text)
    return int(number)


def _scalar(text: str) -> Any:  # noqa: ANN401 - a number or a name
    for read in (int, float):
        with suppress(ValueError):
            return read(text)
    return text
