"""Command-line flags out of settings dataclasses, and errors of one sentence.

A field `num_envs_per_env_runner: int = 1` becomes `--num-envs-per-env-runner`, with the string under
the field as its help. Only what was typed is returned, so that defaults stay in one place.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import MISSING, Field, dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn

from outrider.algorithm.settings.field_docs import field_docs
from outrider.algorithm.settings.setting_value import describe, field_types, from_text, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

USAGE_ERROR = 2
"""Exit code of a command that was typed wrongly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagGroup:
    """The flags of one section of a configuration."""

    section: str
    settings: type[Any]
    prefix: str = ""
    """Stands between -- and the field's name, where that alone would not say enough."""


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one sentence and exit code 2."""

    def __init__(self, **keywords: Any) -> None:  # noqa: ANN401 - those of argparse
        """Take what `argparse.ArgumentParser` takes."""
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **keywords)

    def error(self, message: str) -> NoReturn:
        """Print the sentence without the usage, which would bury it."""
        from outrider.transport.flag_mistakes import in_our_words  # slow to import, as below

        sys.stderr.write(f"{self.prog}: {in_our_words(message, self.prog)}\n")
        raise SystemExit(USAGE_ERROR)

    def parse(
        self, arguments: Sequence[str], instead: Callable[[str, Sequence[str]], str | None] = lambda *_: None
    ) -> argparse.Namespace:
        """Parse, and say what a flag that does not exist should be: what `instead` knows, or the nearest."""
        namespace, unknown = self.parse_known_args(arguments)
        for word in unknown:
            if word.startswith("-"):
                flags = [flag for action in self._actions for flag in action.option_strings]
                name = word.partition("=")[0]
                self.error(
                    f"unknown flag {name}; {instead(name, flags) or _nearest_flag(name, flags, self.prog)}"
                )
            self.error(f"unexpected argument {word!r}; see {self.prog} --help")
        return namespace


def add_flags(parser: Parser, groups: Sequence[FlagGroup]) -> None:
    """Add a flag for each field of each group."""
    for group in groups:
        described = parser.add_argument_group(group.section)
        hints, docs = field_types(group.settings), field_docs(group.settings)
        for field in _own_first(group.settings):
            name = f"--{group.prefix}{field.name.strip('_').replace('_', '-')}"
            kind = hints[field.name]
            described.add_argument(
                name,
                dest=f"{group.section}.{field.name}",
                default=argparse.SUPPRESS,
                help=_help(docs.get(field.name, ""), field),
                **reading(kind),
            )


def given_settings(namespace: argparse.Namespace, groups: Sequence[FlagGroup]) -> dict[str, dict[str, Any]]:
    """Return what was typed, by section and field."""
    given: dict[str, dict[str, Any]] = {group.section: {} for group in groups}
    for destination, value in vars(namespace).items():
        section, dot, field = destination.partition(".")
        if dot:
            given[section][field] = value
    return given


def _own_first(settings: type[Any]) -> list[Field[Any]]:
    """Return the fields of a dataclass, those that it inherits last."""
    own = vars(settings)["__annotations__"]
    return sorted(fields(settings), key=lambda field: field.name not in own)


def reading(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401 - an annotation
    """Return how `add_argument` reads a setting, with a sentence for what is none."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}

    def read(text: str) -> Any:  # noqa: ANN401 - a setting
        try:
            return from_text(text, kind)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return {"type": read, "metavar": _metavar(kind)}


def _metavar(kind: Any) -> str:  # noqa: ANN401 - an annotation
    """Return what stands for the value in the help: N, X|none, {sync,async}."""
    short = {"a whole number": "N", "a number": "X", "a name": "NAME", "module:function": "MODULE:NAME"}
    words = [short.get(word, word) for word in describe(kind).split(" or ")]
    long = [word for word in words if " " in word]
    if long:
        return "|".join(
            [word for word in words if word not in long] + ["LIST" if "list" in long[0] else "JSON"]
        )
    return "|".join(words)


def _help(text: str, field: Field[Any]) -> str:
    if field.default is not MISSING:
        default = to_json(field.default)
    elif field.default_factory is not MISSING:
        default = to_json(field.default_factory())
    else:
        return text.replace("%", "%%")
    shown = "none" if default is None else default
    return f"{text} (default: {shown})".replace("%", "%%")


def _nearest_flag(name: str, flags: Sequence[str], prog: str) -> str:
    from outrider.envrunner.nearest import did_you_mean  # slow to import, and of use to the mistyped only

    longer = [flag for flag in flags if flag.startswith(f"{name}-")]
    words = f"did you mean {' or '.join(longer)}?" if longer else did_you_mean(name, flags)
    return words if words.startswith("did") else f"see {prog} --help"
