"""What can happen to several agents, each as a short table, and in what kinds of environments it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from outrider.testing.agent_script import Script, read_script

Way = Literal["at once", "in turns", "freely"]
"""How agents act: all who take part, one after the other, or whoever is asked to."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Scripts that show one thing."""

    scripts: tuple[Script, ...]
    ways: tuple[Way, ...]
    """Kinds of environments that can do this; all can that let agents act freely."""

    @property
    def agents(self) -> tuple[str, ...]:
        """Who is in it."""
        return tuple(self.scripts[0].lines[0])


def _situation(*tables: str, way: Way) -> Situation:
    ways: tuple[Way, ...] = ("freely",) if way == "freely" else (way, "freely")
    return Situation(tuple(read_script(table) for table in tables), ways)


SITUATIONS = {
    "everybody ends at once": _situation(
        """
        red_0  red_1  blue_0  env
        a      a+1    a
        a+2T   aT     a-1T
        """,
        """
        red_0  red_1  blue_0  env
        aX     aX     a+3X
        """,
        way="at once",
    ),
    "the environment reaches an end of its own": _situation(
        """
        red_0  red_1  blue_0  env
        a      a+1    a
        a+2    a      a-1     T
        """,
        way="at once",
    ),
    "the environment is cut off": _situation(
        """
        red_0  red_1  blue_0  env
        a      a+1    a
        a+2    a      a-1     X
        """,
        way="at once",
    ),
    "agents end each in its own way": _situation(
        """
        red_0  red_1  blue_0  env
        a      a+1T   a
        a+2X   .      a
        .      .      a+5B
        """,
        way="at once",
    ),
    "a single survivor plays on": _situation(
        """
        red_0  red_1  blue_0  env
        aT     a+1    aX
        .      a-4    .
        .      a      .
        .      a+1    .       T
        """,
        way="at once",
    ),
    "agents join and leave": _situation(
        """
        red_0  red_1  blue_0  env
        a      .      .
        a+1    a+2    .
        aX     a      a+7
        .      aT     a
        .      .      a       X
        """,
        way="at once",
    ),
    "an agent comes back": _situation(
        """
        red_0  red_1  blue_0  env
        aT     a      a+1X
        .      a      .
        a+5    a+2    .
        a-1    aX     a
        a      .      a+1     T
        """,
        way="at once",
    ),
    "one has an end of its own when the environment is cut off": _situation(
        """
        red_0  red_1  blue_0  env
        a      a      a
        aT     a+1    a       X
        """,
        way="at once",
    ),
    "episodes of one step": _situation(
        """
        red_0  red_1  blue_0  env
        a      a      a       X
        """,
        """
        red_0  red_1  blue_0  env
        a+1    a      a+2     T
        """,
        way="at once",
    ),
    "turns go round": _situation(
        """
        red_0  red_1  blue_0  env
        a      .      .
        .      a      .
        .      .      a
        a      .      .       T
        """,
        way="in turns",
    ),
    "rewards come late and belong to the action before": _situation(
        """
        red_0  red_1  blue_0  env
        a      .      .
        .+1    a      .
        .+2    .+5    a
        .-4    a      .+9
        a+7    .      .
        .+1    .+3    a+2     T
        """,
        way="in turns",
    ),
    "an agent ends in the turn of another": _situation(
        """
        red_0  red_1  blue_0  env
        a      .      .
        .      a      .
        .+3T   .+1    a+2
        .      a-1    .X
        .      a      .       T
        """,
        way="in turns",
    ),
    "a game is cut off while others have had their turn": _situation(
        """
        red_0  red_1  blue_0  env
        a      .      .
        .+1    a      .
        .-2    .+4    a       X
        """,
        way="in turns",
    ),
    "a player never gets a turn": _situation(
        """
        red_0  red_1  blue_0  env
        a      .      .
        a+1    .      .       T
        """,
        """
        red_0  red_1  blue_0  env
        .      .      a
        .      a+1    .+2     X
        """,
        way="in turns",
    ),
    "a player gets something before its first turn": _situation(
        """
        red_0  red_1  blue_0  env
        a      .+6    .
        .      a+1    .+4
        .      .      a
        a      .      .       T
        """,
        way="in turns",
    ),
    "a player leaves the game and comes back": _situation(
        """
        red_0  red_1  blue_0  env
        a+1T   .      .
        .      a      .
        a      .+2    .
        .+3    aX     .
        a      .      .       X
        """,
        way="in turns",
    ),
    "some act at once and some in turns": _situation(
        """
        red_0  red_1  blue_0  env
        a      .      a
        .+1    a+2    a-1
        a+4    .      aT
        .+1X   .+5    .
        .      a      .
        .      .      a+2     X
        """,
        way="freely",
    ),
    "nobody acts for a while": _situation(
        """
        red_0  red_1  blue_0  env
        a      .      a
        .+1    .      .-1
        .+2    .      .T
        .+3    .      .
        a      a      .       T
        """,
        way="freely",
    ),
    "one agent is alone": _situation(
        """
        red_0  env
        a
        a+1T
        """,
        """
        red_0  env
        a+2    X
        """,
        way="at once",
    ),
}
