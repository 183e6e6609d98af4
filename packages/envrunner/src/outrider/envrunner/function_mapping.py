"""A user's function as a policy mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policy_mapping import Episode


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
        """Call the function once for each agent."""
        fn, numbers = self._fn, self._numbers
        names = [fn(agent, episode) for agent in self._agents]
        try:
            return np.array([numbers[name] for name in names], np.int32)
        except (KeyError, TypeError):
            raise self._unknown(names) from None

    def _unknown(self, names: Sequence[object]) -> ValueError:
        agent, name = next(
            (agent, name)
            for agent, name in zip(self._agents, names, strict=True)
            if not isinstance(name, str) or name not in self._numbers
        )
        return no_such_policy(agent, name, self._numbers, "policy_mapping_fn returns")


def no_such_policy(agent: str, name: object, known: Mapping[str, int], who: str) -> ValueError:
    """Say that an agent got a policy that there is not."""
    first = ", ".join(repr(each) for each in list(known)[:8])
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    what = "no policy" if name is None else f"policy {name!r}, which there is not"
    return ValueError(
        f"{who} for agent {agent!r} {what}; the policies are {first}{more}: name one of them, or add it to "
        "policies"
    )
