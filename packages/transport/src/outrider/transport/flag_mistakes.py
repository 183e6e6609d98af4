"""What was typed wrongly, as commands say it: what was given, what is allowed, what to do."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def in_our_words(message: str, prog: str) -> str:
    """Return a sentence for what `argparse` says of a mistake."""
    see = f"see {prog} --help"
    if message.startswith("the following arguments are required: "):
        name = _name(message.partition(": ")[2].split(", ")[0])
        return f"{name if name.startswith('-') else name.upper()} is missing; {see}"
    if message.startswith("unrecognized arguments: "):
        word = message.partition(": ")[2].split()[0]
        unknown = f"unknown flag {word.partition('=')[0]}"
        return f"{unknown if word.startswith('-') else f'unexpected argument {word!r}'}; {see}"
    flag, colon, why = message.removeprefix("argument ").partition(": ")
    if not colon or not flag.startswith("-"):
        return message
    flag = _name(flag)
    if why.startswith("expected "):
        return f"{flag} lacks its value; {see}"
    if why.startswith("ignored explicit argument "):
        return f"{flag} takes no value; leave out {why.removeprefix('ignored explicit argument ')}"
    return f"{flag} {why}" if why.startswith(("'", '"')) else f"{flag}: {why}"


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return what reads a flag's number, both ends included."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {lowest} to {highest}")
        return int(text)

    return read


def _name(flag: str) -> str:
    """Return the long one of the names of a flag, if it has one."""
    return next(name for name in [*flag.split("/"), flag] if name.startswith("--") or name == flag)
