"""A user's function as a policy mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.environments.trial_step import one_line
from outrider.envrunner.nearest import did_you_mean
from outrider.envrunner.policies.policy_mapping import Episode


class FunctionMapping:
    """Asks fn(agent, episode) for the name of a policy. A `PolicyMapping`."""

    def __init__(
        self, fn: Callable[[str, Episode], str], agents: Sequence[str], numbers: Mapping[str, int]
    ) -> None:
        """`agents` are the slots' names, `numbers` those of the policies by name.

        Raises ValueError for what cannot be called.
        """
        if not callable(fn):
            raise ValueError(
                f"policy_mapping_fn={fn!r} cannot be called; give fn(agent, episode), which returns the name "
                "of a policy"
            )
        self._fn = fn
        self._agents = tuple(agents)
        self._numbers = numbers

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        """Call the function once for each agent.

        Raises ValueError, naming agent and episode; where the function raised, its error is the cause.
        """
        fn, numbers, agent = self._fn, self._numbers, ""
        names: list[str] = []
        try:
            for agent in self._agents:
                names.append(fn(agent, episode))
        except Exception as error:
            raise ValueError(
                f"policy_mapping_fn raised {one_line(error)} for agent {agent!r} in {_which(episode)}; mend "
                "it: it is called as fn(agent, episode), with the agent as text and an episode that has id_, "
                "number, environment and rng, and returns the name of a policy"
            ) from error
        try:
            return np.array([numbers[name] for name in names], np.int32)
        except (KeyError, TypeError):
            raise self._unknown(names, episode) from None

    def _unknown(self, names: Sequence[object], episode: Episode) -> ValueError:
        agent, name = next(
            (agent, name)
            for agent, name in zip(self._agents, names, strict=True)
            if not isinstance(name, str) or name not in self._numbers
        )
        who = f"policy_mapping_fn returned {name!r} for agent {agent!r} in {_which(episode)}"
        return no_policy_for(who, name, self._numbers)


def no_policy_for(who: str, name: object, known: Mapping[str, int]) -> ValueError:
    """Say that an agent got a policy that there is not; `who` begins the sentence."""
    return ValueError(
        f"{who}, and there is no policy {name!r}: add it, or name another; {did_you_mean(name, known)}"
    )


def _which(episode: Episode) -> str:
    return f"episode {episode.number} of environment {episode.environment}"
