"""Settings as plain values, for a process that may have another release of the package they belong to.

    EnvRunnerSettings(num_env_runners=2)   ->   {"num_env_runners": 2}

A message holds what differs from the defaults, so a release that lacks a setting understands all
messages that leave it alone, and the rest is refused by name. Plain values are str, int, float, bool,
None, bytes, lists, and dictionaries whose keys are str. Two dictionaries are marks: {"pickled": bytes}
stands for what has no plain form, and within a mapping of the user's {"tuple": [...]} for a tuple.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from importlib import metadata
from typing import Any, TypeVar, get_args, get_origin

import numpy as np

Settings = TypeVar("Settings")
Dump = Callable[[Any], bytes]
"""Pickles an object by value, such as `cloudpickle.dumps`."""
Load = Callable[[bytes], Any]
"""Unpickles what came from a process that is trusted, such as `pickle.loads`."""

_PICKLED, _TUPLE = "pickled", "tuple"
_PLAIN = (str, int, float, bool, bytes, type(None))


def encode_settings(settings: Any, *, dump: Dump | None = None) -> dict[str, Any]:  # noqa: ANN401
    """Return the fields of a settings dataclass that differ from their defaults, as plain values.

    A field without a default is always there. Enums are written by value, tuples as lists, settings
    within settings as dictionaries. Raises ValueError for a callable or another object unless `dump`
    is given.
    """
    message = {}
    for field in fields(settings):
        if not field.init:
            continue
        try:
            value = _encode(getattr(settings, field.name), dump)
        except ValueError as error:
            raise ValueError(f"setting {field.name}: {error}") from error
        if not _is_default(value, field):
            message[field.name] = value
    return message


def decode_settings(
    kind: type[Settings], message: Mapping[str, Any], *, load: Load | None = None
) -> Settings:
    """Make settings of `kind` from what `encode_settings` wrote; what is absent is at its default here.

    Raises ValueError for a setting that is unknown here, missing, or refused by the settings
    themselves, and for a pickle unless `load` is given, which only a trusted sender justifies.
    """
    if not isinstance(message, Mapping):
        raise ValueError(f"{kind.__name__} came as {type(message).__name__}; it is a dictionary of settings")
    known = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    for name in message:
        if name not in known:
            raise ValueError(
                f"{_release(kind)} here knows no setting {name!r} of {kind.__name__}; "
                "install the sender's release here, or leave that setting at its default there"
            )
    for name, field in known.items():
        if name not in message and not _has_default(field):
            raise ValueError(f"{kind.__name__} came without {name!r}, which {_release(kind)} here needs")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _decode(value, hints[name], load) for name, value in message.items()})


def _encode(value: Any, dump: Dump | None) -> Any:  # noqa: ANN401  (whatever a setting holds)
    match value:
        case Enum():
            return _encode(value.value, dump)
        case list() | tuple():
            return [_encode(child, dump) for child in value]
        case Mapping():
            return _encode_mapping(value, dump)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return encode_settings(value, dump=dump)
        case _:
            return _encode_leaf(value, dump)


def _encode_mapping(mapping: Mapping[Any, Any], dump: Dump | None) -> dict[str, Any]:
    if not all(type(key) is str for key in mapping) or mapping.keys() in ({_PICKLED}, {_TUPLE}):
        return _pickle(mapping, dump)
    return {key: _encode_exactly(value, dump) for key, value in mapping.items()}


def _encode_exactly(value: Any, dump: Dump | None) -> Any:  # noqa: ANN401  (whatever a user's mapping holds)
    """Encode what no annotation describes, so that it comes back as what it was."""
    if type(value) is tuple:
        return {_TUPLE: [_encode_exactly(child, dump) for child in value]}
    if type(value) is list:
        return [_encode_exactly(child, dump) for child in value]
    if type(value) is dict:
        return _encode_mapping(value, dump)
    return value if type(value) in _PLAIN else _pickle(value, dump)


def _encode_leaf(value: Any, dump: Dump | None) -> Any:  # noqa: ANN401  (whatever a setting holds)
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _PLAIN:
        return value
    base = next((plain for plain in (str, int, float) if isinstance(value, plain)), None)
    if base is not None:  # a subclass, whose module the reader may not have
        return base(value)
    return _pickle(value, dump)


def _pickle(value: Any, dump: Dump | None) -> dict[str, Any]:  # noqa: ANN401  (whatever has no plain form)
    if dump is None:
        raise ValueError(
            f"{value!r} has no plain form; use numbers, strings, lists and dictionaries, "
            "or give an importable name in its place"
        )
    return {_PICKLED: dump(value)}


def _is_default(encoded: Any, field: Field[Any]) -> bool:  # noqa: ANN401  (a plain value)
    if field.default is not MISSING:
        default = field.default
    elif field.default_factory is not MISSING:
        default = field.default_factory()
    else:
        return False
    try:
        return bool(encoded == _encode(default, None))
    except ValueError:  # a default that has no plain form equals nothing that was encoded
        return False


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _decode(value: Any, hint: Any, load: Load | None) -> Any:  # noqa: ANN401  (a plain value, an annotation)
    members = get_args(hint) if _is_union(hint) else (hint,)
    if isinstance(value, Mapping):
        if value.keys() in ({_PICKLED}, {_TUPLE}):
            return _decode_mark(value, load)
        for member in members:
            if is_dataclass(member) and isinstance(member, type):
                return decode_settings(member, value, load=load)
        return {key: _decode(child, Any, load) for key, child in value.items()}
    if isinstance(value, list):
        return _decode_list(value, members, load)
    for member in members:
        if isinstance(member, type) and issubclass(member, Enum):
            return _decode_enum(value, member, members)
    return value


def _decode_mark(mark: Mapping[str, Any], load: Load | None) -> Any:  # noqa: ANN401  (whatever it stands for)
    if _TUPLE in mark:
        return tuple(_decode(child, Any, load) for child in mark[_TUPLE])
    if load is None:
        raise ValueError(
            "a pickled setting came. No pickle is ever read from a network peer; name it instead"
        )
    return load(mark[_PICKLED])


def _decode_list(
    value: list[Any], members: tuple[Any, ...], load: Load | None
) -> list[Any] | tuple[Any, ...]:
    for member in members:
        if get_origin(member) in {tuple, Sequence}:
            kinds = get_args(member)
            if len(kinds) != len(value) or ... in kinds:
                kinds = kinds[:1] * len(value)
            return tuple(_decode(child, kind, load) for child, kind in zip(value, kinds, strict=True))
    return [_decode(child, Any, load) for child in value]


def _decode_enum(value: Any, kind: type[Enum], members: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Return the member of `kind`; what is none stays as it is where the annotation allows other things."""
    for member in kind:
        if member.value == value:
            return member
    if len(members) > 1:
        return value
    allowed = ", ".join(repr(member.value) for member in kind)
    raise ValueError(
        f"{value!r} is no {kind.__name__} that {_release(kind)} here knows; allowed are {allowed}"
    )


def _is_union(hint: Any) -> bool:  # noqa: ANN401  (an annotation)
    return get_origin(hint) in {typing.Union, types.UnionType}


def _release(kind: type[Any]) -> str:
    """Return the distribution that `kind` comes from, with its version: "outrider-envrunner 0.1.0"."""
    name = "-".join(kind.__module__.split(".")[:2])
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return kind.__module__
