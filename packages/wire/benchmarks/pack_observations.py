"""What packing the observations of an Atari game saves and costs, under a random policy.

    hatch run bench:wire-compression

Observations are [84, 84, 4] uint8. CPU time of one core; the best of several rounds each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import ale_py
import gymnasium as gym
import numpy as np
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from outrider.testing.messages import image_fragment
from outrider.wire import Fragment, decode_fragment, encode_fragment

GAMES = ("ALE/Breakout-v5", "ALE/Pong-v5", "ALE/MsPacman-v5")
NUM_ROWS = 512
NUM_ROUNDS = 5


def played(game: str) -> Fragment:
    """Return a fragment of a random policy's observations."""
    gym.register_envs(ale_py)
    environment = FrameStackObservation(AtariPreprocessing(gym.make(game, frameskip=1)), 4)
    environment.action_space.seed(0)
    observations = np.empty((NUM_ROWS, 84, 84, 4), np.uint8)
    ended = True
    for row in range(NUM_ROWS):
        if ended:
            observation, _ = environment.reset(seed=row)
        observations[row] = np.moveaxis(observation, 0, -1)
        observation, _, terminated, truncated, _ = environment.step(environment.action_space.sample())
        ended = terminated or truncated
    environment.close()
    fragment = image_fragment(NUM_ROWS)
    return replace(
        fragment, observations={"": observations}, next_observations={"": observations[-1:].copy()}
    )


def cpu_ms(call: Callable[[], object]) -> float:
    """Return how much CPU time a call takes."""
    found = []
    for _ in range(NUM_ROUNDS):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found) * 1e3


def main() -> None:
    for game in GAMES:
        fragment = played(game)
        plain_bytes = encode_fragment(fragment).num_bytes
        for compression in ("lz4", "zstd"):
            message = encode_fragment(fragment, compression=compression).to_bytes()
            write_ms = cpu_ms(lambda: encode_fragment(fragment, compression=compression))  # noqa: B023
            read_ms = cpu_ms(lambda: decode_fragment(message))  # noqa: B023
            megabytes = plain_bytes / 1e6
            print(
                f"{game:18} {compression:4}: {megabytes:.1f} MB / {plain_bytes / len(message):.0f}; "
                f"write {write_ms / megabytes:.2f} ms and read {read_ms / megabytes:.2f} ms of CPU per MB"
            )


if __name__ == "__main__":
    main()
