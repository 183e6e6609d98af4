"""A fragment of a wanted size, to be sent over Ray and gRPC."""

import numpy as np

from outrider.wire import EpisodeStatistics, Fragment, Streams

NUM_STREAMS = 8


def fragment_of_size(size_bytes: int, observation_size: int = 128) -> Fragment:
    """Return a fragment of about `size_bytes`: float32 observations, 4 discrete actions."""
    length = size_bytes // (4 * observation_size + 40) // NUM_STREAMS
    num_rows = length * NUM_STREAMS
    next_rows = np.arange(NUM_STREAMS) * length + length - 1
    observations = np.ones((num_rows, observation_size), np.float32)
    return Fragment(
        streams=Streams(
            lengths=np.full(NUM_STREAMS, length),
            policy=np.zeros(NUM_STREAMS, np.int32),
            environment=np.arange(NUM_STREAMS, dtype=np.int32),
            agent=np.zeros(NUM_STREAMS, np.int32),
        ),
        observations={"": observations},
        actions={"": np.zeros(num_rows, np.int64)},
        rewards=np.ones(num_rows, np.float32),
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        next_rows=next_rows,
        next_observations={"": observations[next_rows]},
        action_log_probs=np.zeros(num_rows, np.float32),
        action_parameters=np.ones((num_rows, 4), np.float32),
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )
