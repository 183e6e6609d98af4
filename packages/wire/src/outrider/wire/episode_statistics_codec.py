"""Episode statistics to and from their message."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire.fragment import AgentEpisodes, EpisodeStatistics
from outrider.wire.frame import Bytes
from outrider.wire.limits import Limits
from outrider.wire.v1 import episode_statistics_pb2
from outrider.wire.wire_error import WireError, reading

_INT32, _INT64, _FLOAT32 = map(np.dtype, ("i4", "i8", "f4"))
_AGENT_FIELDS: dict[str, np.dtype[Any]] = {
    "policy": _INT32,
    "agent": _INT32,
    "returns": _FLOAT32,
    "lengths": _INT64,
    "environment": _INT32,
    "episode": _INT64,
}


def encode_episode_statistics(episodes: EpisodeStatistics) -> bytes:
    """Write episode statistics that travel alone, as an evaluation's do."""
    check_episode_statistics(episodes)
    message = episode_statistics_pb2.EpisodeStatistics()
    write_episode_statistics(message, episodes)
    return bytes(message.SerializeToString())


def decode_episode_statistics(message: Bytes, limits: Limits = Limits()) -> EpisodeStatistics:  # noqa: B008
    """Read episode statistics that travelled alone. Raises WireError."""
    with reading("set of episode statistics"):
        limits.check("max_header_bytes", len(message))
        parsed = episode_statistics_pb2.EpisodeStatistics.FromString(bytes(message))
        return read_episode_statistics(parsed, limits)


def check_episode_statistics(episodes: EpisodeStatistics) -> None:
    """Raise ValueError where returns and lengths do not belong together."""
    returns, lengths = episodes.returns, episodes.lengths
    if returns.dtype != _FLOAT32 or lengths.dtype != _INT64:
        raise ValueError(
            f"episodes have {returns.dtype} returns and {lengths.dtype} lengths; use float32 and int64"
        )
    if returns.ndim != 1 or returns.shape != lengths.shape:
        raise ValueError(f"{returns.shape} returns and {lengths.shape} lengths of episodes; both are [K]")
    if lengths.size and lengths.min() < 1:
        raise ValueError(f"an episode of {lengths.min()} steps; an episode has at least 1")
    if episodes.agents is not None:
        _check_agent_episodes(episodes.agents)


def write_episode_statistics(
    message: episode_statistics_pb2.EpisodeStatistics, episodes: EpisodeStatistics
) -> None:
    """Fill a message."""
    message.returns.extend(episodes.returns.tolist())
    message.lengths.extend(episodes.lengths.tolist())
    if episodes.agents is not None:
        message.agents.SetInParent()  # present also where there are no episodes
        for name in _AGENT_FIELDS:
            getattr(message.agents, name).extend(getattr(episodes.agents, name).tolist())


def read_episode_statistics(
    message: episode_statistics_pb2.EpisodeStatistics, limits: Limits
) -> EpisodeStatistics:
    """Return what a message says, once it is known to be consistent."""
    limits.check("max_episodes", max(len(message.returns), len(message.lengths)))
    if max(message.lengths, default=0) >= 2**63:
        raise WireError("an episode of more than 2**63 - 1 steps")
    episodes = EpisodeStatistics(
        returns=np.array(message.returns, np.float32),
        lengths=np.array(message.lengths, np.int64),
        agents=_read_agent_episodes(message.agents, limits) if message.HasField("agents") else None,
    )
    check_episode_statistics(episodes)
    return episodes


def _read_agent_episodes(message: episode_statistics_pb2.AgentEpisodes, limits: Limits) -> AgentEpisodes:
    columns: dict[str, NDArray[Any]] = {}
    for name, dtype in _AGENT_FIELDS.items():
        numbers = getattr(message, name)
        limits.check("max_episodes", len(numbers))
        if dtype.kind == "i" and max(numbers, default=0) > np.iinfo(dtype).max:
            raise WireError(
                f"{name} of agents' episodes has {max(numbers)}; it is at most {np.iinfo(dtype).max}"
            )
        columns[name] = np.array(numbers, dtype)
    return AgentEpisodes(**columns)


def _check_agent_episodes(agents: AgentEpisodes) -> None:
    num_episodes = agents.returns.shape
    for name, dtype in _AGENT_FIELDS.items():
        array = getattr(agents, name)
        if array.dtype != dtype or array.ndim != 1 or array.shape != num_episodes:
            raise ValueError(
                f"{name} of agents' episodes is {array.dtype}{list(array.shape)} beside {list(num_episodes)} "
                f"returns; it is {dtype}, [K] like the others"
            )
        if dtype.kind == "i" and array.size and array.min() < 0:
            raise ValueError(f"{name} of agents' episodes has {array.min()}; it is at least 0")
