"""What happens to several agents in an episode, as a table: a line for each step, a column for each agent.

    red_0    red_1    blue_0     env
    a        .        a+1              red_0 and blue_0 act; blue_0 gets 1
    a        a        .+2T             red_1 joins; blue_0 gets 2 for what it did before, and dies
    a        aX       .                red_1 is cut off
    a        .        a          X     blue_0 came back; the environment is cut off, and all who are in it

A cell is `a` for who acts and `.` for who does not, then what it gets in this step, then its end: T
terminated, X truncated, B both. The end of the environment stands in the last column of the last line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_CELL = re.compile(r"([a.])([+-]\d+)?([TXB])?")


@dataclass(frozen=True, slots=True)
class Cell:
    """What happens to one agent in one step."""

    acts: bool = False
    reward: int = 0
    end: str = ""
    """T, X, B, or nothing."""

    def __str__(self) -> str:
        """Write it as it is read."""
        return ("a" if self.acts else ".") + (f"{self.reward:+d}" if self.reward else "") + self.end


@dataclass(frozen=True, slots=True)
class Script:
    """One episode."""

    lines: tuple[Mapping[str, Cell], ...]
    """For each step what happens to each agent."""
    end: str = ""
    """Of the environment: T, X, or nothing where everybody has an end of its own."""

    def __repr__(self) -> str:
        """Write the table, so that a failing example can be read."""
        agents = list(self.lines[0])
        table = [[*agents, "env"]] + [[str(line[agent]) for agent in agents] + [""] for line in self.lines]
        table[-1][-1] = self.end
        return "\n" + "\n".join("".join(cell.ljust(9) for cell in line).rstrip() for line in table) + "\n"


def read_script(table: str) -> Script:
    """Read a table. Raises ValueError for a cell that means nothing and for what cannot happen."""
    header, *rows = [line.split() for line in table.strip().splitlines()]
    agents = [name for name in header if name != "env"]
    lines, end = [], ""
    for row in rows:
        lines.append({agent: _cell(text) for agent, text in zip(agents, row, strict=False)})
        assert not end, "the environment's end stands in the last line"
        end = row[len(agents)] if len(row) > len(agents) else ""
    script = Script(tuple(lines), end)
    _require_possible(script)
    return script


def possible_script(rows: Sequence[Sequence[Cell]], agents: Sequence[str], *, end: str, way: str) -> Script:
    """Make a script out of any cells: what cannot happen is left out, and what has to happen is added.

    `way` says how agents act: "at once" all who take part, "in turns" one, "freely" whoever likes.
    """
    lines: list[dict[str, Cell]] = []
    playing: set[str] = set()
    ended: set[str] = set()
    for row in rows:
        wanted = dict(zip(agents, row, strict=True))
        able = [agent for agent in agents if agent not in ended]
        willing = [agent for agent in able if wanted[agent].acts]
        if way == "in turns":
            acting = set((willing or able)[:1])
        else:
            acting = set(willing) | (playing if way == "at once" else set())
        if not acting and (way == "at once" or not lines):
            acting = set(able[:1])
        if not acting and way != "freely":
            break  # all have ended, and nobody can come back at once
        playing |= acting
        line = {
            agent: Cell(agent in acting, cell.reward, cell.end) if agent in playing else Cell()
            for agent, cell in wanted.items()
        }
        ended = {agent for agent in playing if line[agent].end}
        playing -= ended
        lines.append(line)
    script = Script(tuple(lines), end or ("T" if playing else ""))
    _require_possible(script)
    return script


def _cell(text: str) -> Cell:
    match = _CELL.fullmatch(text)
    if match is None:
        raise ValueError(f"cell {text!r} means nothing; write a or ., then a reward, then T, X or B")
    return Cell(match[1] == "a", int(match[2] or 0), match[3] or "")


def _require_possible(script: Script) -> None:
    """Raise ValueError where the table tells what no environment can do."""
    playing: set[str] = set()
    ended: set[str] = set()
    if not any(cell.acts for cell in script.lines[0].values()):
        raise ValueError("nobody acts in the first step; let somebody begin")
    for line in script.lines:
        for agent, cell in line.items():
            if cell.acts and agent in ended:
                raise ValueError(f"{agent} acts right after its end; let it come back a step later")
            if cell.acts:
                playing.add(agent)
            if cell.end and agent not in playing:
                raise ValueError(f"{agent} ends and takes no part; let it act first")
        ended = {agent for agent, cell in line.items() if cell.end}
        playing -= ended
    if playing and not script.end:
        raise ValueError(f"{sorted(playing)} are left at the end; write how the environment ends")
