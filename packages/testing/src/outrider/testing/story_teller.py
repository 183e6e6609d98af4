"""Tells scripts one after the other, in words that every kind of environment can be made of.

What is seen names who sees it, when, in which episode and in which copy, so that nothing can be taken for
something else; what is got names what was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider.testing.agent_script import Script

STATE_SPACE = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
NUM_RED_ACTIONS = 5
_RED = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
_BLUE = gym.spaces.Dict(
    {
        "where": gym.spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "when": gym.spaces.Box(-np.inf, np.inf, (2,), np.float64),
    }
)


def observation_space(agent: str) -> gym.Space[Any]:
    """Return a Box for agents called red, a Dict for those called blue."""
    return _BLUE if agent.startswith("blue") else _RED


def action_space(agent: str) -> gym.Space[Any]:
    """Return what they can do, which is different, too."""
    return gym.spaces.MultiDiscrete([3, 2]) if agent.startswith("blue") else gym.spaces.Discrete(5)


def worth(action: Any) -> float:  # noqa: ANN401 - of either action space
    """Return what an action brings, another number for each; sums of them are exact."""
    parts = np.asarray(action).reshape(-1).tolist()
    return float(sum(part * scale for part, scale in zip(parts, (0.125, 0.5), strict=False)))


@dataclass(frozen=True, slots=True)
class Moment:
    """What happened in a step, and what is there now."""

    acting: tuple[str, ...]
    """Who acts next, in the same episode; nobody where it is over."""
    rewards: Mapping[str, float] = field(default_factory=dict)
    """Of those who got something."""
    ends: Mapping[str, str] = field(default_factory=dict)
    """T, X or B of agents that ended by themselves."""
    over: bool = False
    all_end: str = ""
    """How the environment's end ends those who take part; "" where it does not."""
    cut: tuple[str, ...] = ()
    """Who ends by that."""

    @property
    def cuts_off(self) -> bool:
        """Whether something would have followed for somebody, so that the value of the state is needed."""
        return "X" in {*self.ends.values(), *(self.all_end for _ in self.cut)}


class StoryTeller:
    """Tells scripts over and over. A seed says with which one it begins."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        """Take the scripts, all of the same agents."""
        self.scripts = tuple(scripts)
        self.agents = tuple(self.scripts[0].lines[0])
        self.seed = 0
        self.episode = -1
        self.step_number = 0
        self._first = 0
        self._playing: set[str] = set()
        self._has_state = True

    @property
    def script(self) -> Script:
        """That of this episode."""
        return self.scripts[(self._first + self.episode) % len(self.scripts)]

    def begin(self, seed: int | None) -> Moment:
        """Begin the next episode, or with a seed the first one."""
        if seed is not None:
            self.seed, self._first, self.episode = seed % 1000, seed % len(self.scripts), -1
        self.episode += 1
        self.step_number = 0
        self._playing = set()
        self._has_state = True
        return Moment(self._turn())

    def go_on(self, actions: Mapping[str, Any]) -> Moment:
        """Do one line of the script. Raises ValueError for an action of somebody who has no turn."""
        if set(actions) != set(self._turn()):
            raise ValueError(f"{sorted(actions)} act and {sorted(self._turn())} should")
        line = self.script.lines[self.step_number]
        self._playing |= set(actions)
        rewards = {agent: float(cell.reward) for agent, cell in line.items() if cell.reward}
        for agent, action in actions.items():
            rewards[agent] = rewards.get(agent, 0.0) + worth(action)
        ends = {agent: cell.end for agent, cell in line.items() if cell.end}
        self._playing -= set(ends)
        self.step_number += 1
        over = self.step_number == len(self.script.lines)
        cut = tuple(agent for agent in self.agents if agent in self._playing) if over else ()
        turn, end = ((), self.script.end) if over else (self._turn(), "")
        moment = Moment(turn, rewards, ends, over, end, cut)
        self._has_state = moment.cuts_off or not over
        return moment

    def observe(self, agent: str) -> Any:  # noqa: ANN401 - of either observation space
        """Say who sees this, when, in which episode of which copy."""
        where, when = [self.seed, self.agents.index(agent)], [self.episode, self.step_number]
        if agent.startswith("blue"):
            return {"where": np.array(where, np.float32), "when": np.array(when, np.float64)}
        return np.array([*where, *when], np.float32)

    def state(self) -> NDArray[np.float32]:
        """Say when it is, in which episode of which copy.

        Raises RuntimeError after an end that cut nobody off, as environments do that have no state then.
        """
        if not self._has_state:
            raise RuntimeError("everybody has terminated, and the state of nobody is asked for")
        return np.array([self.seed, self.episode, self.step_number], np.float32)

    def _turn(self) -> tuple[str, ...]:
        line = self.script.lines[self.step_number]
        return tuple(agent for agent in self.agents if line[agent].acts)
