"""A section of a configuration: a method whose signature is that of the section's dataclass.

    class PPOConfig:
        env_runners = Section(EnvRunnerSettings)

    config.env_runners(num_env_runners=0)     # replaces the given fields, returns the config
    PPOConfig.env_runners.of(config)          # the settings as they now stand

Editors complete the call and mypy checks it, because the descriptor carries the dataclass's
constructor as a ParamSpec. Fields that a call does not name keep what an earlier call gave them.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, Self, TypeVar, overload

from outrider.algorithm.settings.settings_elsewhere import said_elsewhere
from outrider.envrunner.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
S = TypeVar("S")
C = TypeVar("C")


class Section(Generic[P, S]):
    """Make a dataclass's fields settable by calling `config.<section>(field=value, ...)`."""

    def __init__(self, settings: Callable[P, S]) -> None:
        """Take the dataclass that the section fills in."""
        self._settings = settings
        self._signature = inspect.signature(settings)

    def __set_name__(self, owner: type[Any], name: str) -> None:
        """Remember under which name the section stands."""
        self._name = name

    @overload
    def __get__(self, config: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, config: C, owner: type[C]) -> Callable[P, C]: ...
    def __get__(self, config: C | None, owner: type[Any]) -> Self | Callable[P, C]:
        """Return the section on the class, and the call that fills it in on an instance."""
        if config is None:
            return self

        def replace(*args: P.args, **fields: P.kwargs) -> C:
            given = self._given(config) | self._named(type(config), args, fields)
            if not self._missing(given):
                self._settings(**given)  # type: ignore[call-arg]  # checks the values where they are given
            vars(config)[self._key] = given
            return config

        replace.__name__ = replace.__qualname__ = self._name
        replace.__doc__ = f"Replace the given fields of {self._settings.__name__} and return the config."
        replace.__signature__ = self._signature  # type: ignore[attr-defined]
        return replace

    def __set__(self, config: object, value: object) -> NoReturn:
        """Refuse assignment, which would hide the section."""
        raise AttributeError(f"{self._name} cannot be assigned; call config.{self._name}(field=value)")

    def of(self, config: object) -> S:
        """Return the section's settings. Raises ValueError where a field without default was not given."""
        given = self._given(config)
        if missing := self._missing(given):
            msg = f"{type(config).__name__} has no {missing[0]}; give it with .{self._name}({missing[0]}=...)"
            raise ValueError(msg)
        return self._settings(**given)  # type: ignore[call-arg]

    @property
    def names(self) -> list[str]:
        """Names of its settings."""
        return [*self._signature.parameters]

    @property
    def _key(self) -> str:
        return f"_{self._name}"

    def _given(self, config: object) -> dict[str, Any]:
        return dict(vars(config).get(self._key, {}))

    def _missing(self, given: dict[str, Any]) -> list[str]:
        fields = self._signature.parameters.values()
        return [field.name for field in fields if field.default is field.empty and field.name not in given]

    def _named(self, owner: type[Any], args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
        for name in fields:
            if name not in self._signature.parameters:
                instead = said_elsewhere(name, settings_of(owner))
                instead = instead or did_you_mean(name, self._signature.parameters)
                raise ValueError(f"{self._name}() has no setting {name!r}; {instead}")
        try:
            return dict(self._signature.bind_partial(*args, **fields).arguments)
        except TypeError as error:
            raise ValueError(
                f"{self._name}(): {error}; name each setting, as in {self._name}(field=value)"
            ) from None


def settings_of(config: type[Any]) -> dict[str, list[str]]:
    """Return the names of the settings of a configuration, by section."""
    return {
        name: section.names
        for kind in reversed(config.__mro__)
        for name, section in vars(kind).items()
        if isinstance(section, Section)
    }
