"""Episode statistics to and from their message."""

from __future__ import annotations

import numpy as np

from outrider.wire.fragment import EpisodeStatistics
from outrider.wire.frame import Bytes
from outrider.wire.limits import Limits
from outrider.wire.v1 import episode_statistics_pb2
from outrider.wire.wire_error import WireError, reading

_FLOAT32, _INT64 = np.dtype(np.float32), np.dtype(np.int64)


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


def write_episode_statistics(
    message: episode_statistics_pb2.EpisodeStatistics, episodes: EpisodeStatistics
) -> None:
    """Fill a message."""
    message.returns.extend(episodes.returns.tolist())
    message.lengths.extend(episodes.lengths.tolist())


def read_episode_statistics(
    message: episode_statistics_pb2.EpisodeStatistics, limits: Limits
) -> EpisodeStatistics:
    """Return what a message says, once it is known to be consistent."""
    limits.check("max_episodes", max(len(message.returns), len(message.lengths)))
    if max(message.lengths, default=0) >= 2**63:
        raise WireError("an episode of more than 2**63 - 1 steps")
    episodes = EpisodeStatistics(
        returns=np.array(message.returns, np.float32), lengths=np.array(message.lengths, np.int64)
    )
    check_episode_statistics(episodes)
    return episodes
