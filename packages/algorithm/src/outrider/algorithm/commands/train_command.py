"""outrider train ALGORITHM --env ENV: trains, shows how it goes, and leaves a directory of results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outrider.algorithm.algorithms import ALGORITHMS, config_class
from outrider.algorithm.commands.flags import FlagGroup, Parser, add_flags, given_settings
from outrider.algorithm.commands.flags_elsewhere import said_elsewhere
from outrider.algorithm.settings.setting_value import field_types

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from outrider.algorithm.config import AlgorithmConfig

FLAG_PREFIXES = {"stopping": "stop-"}


def run(arguments: Sequence[str]) -> int:
    """Train and return the exit code."""
    name, *rest = [*arguments] or ["--help"]
    if name in {"-h", "--help"}:
        sys.stdout.write(_help())
        return 0
    if name.startswith("-"):
        Parser(prog="outrider train").error(
            f"the algorithm comes first, as in `outrider train ppo --env CartPole-v1`; got {name}"
        )
    try:
        config = config_class(name)()
    except ValueError as error:
        Parser(prog="outrider train").error(str(error))
    parser, groups = _parser(name, config)
    typed = parser.parse(rest, said_elsewhere)
    config = _configure(config, parser, typed, groups)
    return _train(name, config, typed)


def _parser(name: str, config: AlgorithmConfig[Any]) -> tuple[Parser, list[FlagGroup]]:
    groups = flag_groups(config)
    parser = Parser(
        prog=f"outrider train {name}",
        usage=f"outrider train {name} --env ENV [flags]",
        description=f"Train with {name}. Every flag is a setting of {type(config).__name__}.",
    )
    where = parser.add_argument_group("results")
    where.add_argument("--run-dir", type=Path, help="directory of the run (default: runs/ALGORITHM-ENV-TIME)")
    where.add_argument("--no-tensorboard", action="store_true", help="write no TensorBoard events")
    where.add_argument(
        "--plain", action="store_true", help="print plain lines also in a terminal, one every two seconds"
    )
    add_flags(parser, groups)
    return parser, groups


def flag_groups(config: AlgorithmConfig[Any]) -> list[FlagGroup]:
    """Return the flags of every section of a configuration."""
    return [
        FlagGroup(section=section, settings=kind, prefix=FLAG_PREFIXES.get(section, ""))
        for section, kind in field_types(config.settings_class).items()
    ]


def _configure(
    config: AlgorithmConfig[Any], parser: Parser, typed: argparse.Namespace, groups: Sequence[FlagGroup]
) -> AlgorithmConfig[Any]:
    given = given_settings(typed, groups)
    if "env" not in given["environment"]:
        parser.error("which environment? give one, as in --env CartPole-v1")
    for section, fields in given.items():
        try:
            getattr(config, section)(**fields)
        except ValueError as error:
            parser.error(str(error))
    return config


def _train(name: str, config: AlgorithmConfig[Any], typed: argparse.Namespace) -> int:
    from outrider.algorithm.saved.run_directory import RunDirectory, new_run_path
    from outrider.algorithm.settings.setting_value import to_json
    from outrider.algorithm.views.run_view import env_name, train_and_report

    path = typed.run_dir or new_run_path(name, env_name(config.settings.environment.env))
    RunDirectory.refuse_existing(path)
    with config.build(run_name=path.name) as algorithm:
        document = {"algorithm": name, "settings": to_json(algorithm.settings)}
        directory = RunDirectory.create(path, document)
        try:
            with directory.held():
                return train_and_report(
                    algorithm, directory, tensorboard=not typed.no_tensorboard, plain=typed.plain
                )
        except OSError:
            directory.delete_without_checkpoint()
            raise
        except BaseException:
            directory.delete_without_progress()
            raise


def _help() -> str:
    names = ", ".join(ALGORITHMS)
    return (
        "usage: outrider train ALGORITHM --env ENV [flags]\n\n"
        f"Algorithms: {names}. `outrider train ppo --help` lists every flag.\n"
    )
