"""A fragment: the transitions that a runner hands to a learner.

Two environment copies, four and three rows, the first with an episode that ends at its second row:

    row            0    1    2    3  |  4    5    6
    stream         0    0    0    0  |  1    1    1        lengths = [4, 3]
    terminated     .    x    .    .  |  .    .    .
    truncated      .    .    .    .  |  .    x    .
    next_rows                     3           5    6       sparse: truncated rows, and the last row
                                                           of a stream unless it terminated

Every row is a transition that really happened. Row i is followed by row i + 1 of the same stream
unless it ended an episode; what follows the other rows stands in `next_observations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays by leaf path (see `outrider.wire.space`), all with the same first axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Streams:
    """What is true of a whole stream. S streams."""

    lengths: NDArray[np.int64]
    """[S] rows of each stream; their sum is the number of rows N."""
    policy: NDArray[np.int32]
    """[S] number within the run of the policy that acted; equal ones lie together. 0 where there is one."""
    environment: NDArray[np.int32]
    """[S] environment copy, counted over all runners of a run."""
    agent: NDArray[np.int32]
    """[S] agent slot within the environment; 0 where there is one agent."""
    state: Columns = field(default_factory=dict)
    """[S, ...] recurrent state before each stream's first row; empty for policies without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentEpisodes:
    """The episodes of single agents that ended within a fragment. K episodes, in the order of their end."""

    policy: NDArray[np.int32]
    """[K] number of the policy that acted."""
    agent: NDArray[np.int32]
    """[K] agent slot within the environment."""
    returns: NDArray[np.float32]
    """[K] sums of the agent's rewards."""
    lengths: NDArray[np.int64]
    """[K] numbers of the agent's actions; 0 where it got something in an episode without a turn."""
    environment: NDArray[np.int32]
    """[K] environment copy, counted over all runners of a run."""
    episode: NDArray[np.int64]
    """[K] episodes of this copy before the one that the agent took part in. Agents with the same environment
    and episode played with each other, also where one of them ended earlier."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeStatistics:
    """The episodes that ended within a fragment. K episodes, in the order of their end."""

    returns: NDArray[np.float32]
    """[K] sums of rewards as the environment returned them, over all agents."""
    lengths: NDArray[np.int64]
    """[K] numbers of steps of the environment."""
    agents: AgentEpisodes | None = None
    """Of agents that a policy of this fragment acted for; None where there is one agent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingStatistics:
    """How the runner spent its time on a fragment."""

    environment_s: float = 0.0
    """Seconds in the environment's step and reset."""
    policy_s: float = 0.0
    """Seconds in the policy graph and in drawing actions."""
    total_s: float = 0.0
    """Seconds from the first step to the finished fragment."""
    num_lost_rows: int = 0
    """Rows dropped since the fragment before, because an environment failed."""
    num_restarts: int = 0
    """Environments rebuilt since the fragment before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragment:
    """Transitions of S streams, N rows, stream after stream in time order."""

    streams: Streams
    observations: Columns
    """[N, ...] what the policy saw."""
    actions: Columns
    """[N, ...] what the policy chose, in the units of `ActionHead`."""
    rewards: NDArray[np.float32]
    """[N] as the environment returned them."""
    terminated: NDArray[np.bool_]
    """[N] the episode reached an end of its own: nothing follows."""
    truncated: NDArray[np.bool_]
    """[N] the episode was cut here: something would have followed."""
    next_rows: NDArray[np.int64]
    """[M] ascending rows that the next row does not follow and that did not terminate."""
    next_observations: Columns
    """[M, ...] what really followed each of these."""
    action_log_probs: NDArray[np.float32]
    """[N] log-probability of each action under the acting policy."""
    action_parameters: NDArray[np.float32] | None = None
    """[N, k] the acting policy's distribution parameters; None where nobody asked for them."""
    policy_version: NDArray[np.int64]
    """[N], or [1] where one version acted throughout."""
    critic_states: Columns = field(default_factory=dict)
    """[G, ...] what a central critic sees besides, once for each step of an environment that a row needs;
    empty where critics see what their policies see."""
    critic_rows: NDArray[np.int64] | None = None
    """[N] which of these belongs to each row; None where there are none."""
    next_critic_rows: NDArray[np.int64] | None = None
    """[M] likewise, to each next observation."""
    episodes: EpisodeStatistics
    statistics: SamplingStatistics = SamplingStatistics()
    others: tuple[Fragment, ...] = ()
    """What policies of other architectures did in the same steps, a fragment for each architecture; these
    have no others, and leave episodes of whole environments and sampling statistics to this one."""

    @property
    def num_rows(self) -> int:
        """Number of transitions N, those of `others` not counted."""
        return len(self.rewards)


def all_parts(fragment: Fragment) -> tuple[Fragment, ...]:
    """Return a fragment for each architecture: the given one, to be read without its `others`, and those."""
    return (fragment, *fragment.others)
