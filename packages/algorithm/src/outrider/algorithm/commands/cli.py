"""The command `outrider`. Imports a command's module only when that command is typed."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from outrider.algorithm.commands.flags import USAGE_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMANDS = {
    "train": "train a policy: outrider train ppo --env CartPole-v1",
    "resume": "go on with a run that was interrupted",
    "evaluate": "play episodes without exploration, and film one with --video",
    "plot": "draw returns and losses of one or several runs as a PNG",
    "export": "write the policy as an ONNX file that needs nothing of Outrider",
}
GYMNASIUM_COLOUR = re.compile(r"\x1b\[\d*m(WARN: )?")
"""What Gymnasium puts around its warnings, in a terminal and elsewhere."""
SHOW = "OUTRIDER_TRACEBACK=1 shows where"
FAILED = 1
"""Exit code of a command that could not be done."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 typed wrongly, 130 interrupted."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in {"-h", "--help", "--version"}:
        sys.stdout.write(f"outrider {version('outrider-algorithm')}\n" if name == "--version" else _help())
        return 0
    if name not in COMMANDS:
        from outrider.envrunner.nearest import no_such

        return _fail(no_such("command", name, COMMANDS), USAGE_ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show ends no run
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy and torch are imported
    logging.basicConfig(format="outrider: %(message)s", level=logging.WARNING)
    logging.getLogger("outrider.algorithm").setLevel(logging.INFO)  # what makes one wait
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # for --env my_module:make_env, as `python -m` has it
    warnings.showwarning = one_line_each()
    try:
        command = import_module(f"outrider.algorithm.commands.{name}_command")
        code: int = command.run(rest)
    except KeyboardInterrupt:
        return _fail("stopped at once", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get("OUTRIDER_TRACEBACK") or not _is_expected(error):
            raise
        return _fail(_sentence(error), FAILED)
    return code


def one_line_each() -> Callable[..., None]:
    """Return what prints a warning as one line, and the same one once."""
    said: set[str] = set()

    def say(message: Warning | str, *_: object) -> None:
        text = GYMNASIUM_COLOUR.sub("", str(message))
        if text not in said:
            said.add(text)
            sys.stderr.write(f"outrider: {text}\n")

    return say


def _is_expected(error: Exception) -> bool:
    """Tell what users and machines can cause, Ray included, from what only a programming error can."""
    return isinstance(error, ValueError | OSError | RuntimeError) or type(error).__module__.startswith("ray.")


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    is_ours = isinstance(error, ValueError | OSError) or type(error).__module__.startswith("outrider")
    if is_ours and text:
        return f"{text} ({SHOW})" if _is_of_others(error.__cause__) else text
    return f"{type(error).__name__}: {text} ({SHOW})"


def _is_of_others(cause: BaseException | None) -> bool:
    """Tell whether code raised an error that is not ours, such as an environment or a mapping function."""
    traceback = cause.__traceback__ if cause is not None else None
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or isinstance(cause, OSError):
        return False
    return not str(traceback.tb_frame.f_globals.get("__name__", "")).startswith("outrider.")


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"outrider: {sentence}\n")
    return code


def _help() -> str:
    lines = [f"  outrider {name:<10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "Train reinforcement-learning policies.",
            "",
            *lines,
            "",
            "outrider COMMAND --help says more about each.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
