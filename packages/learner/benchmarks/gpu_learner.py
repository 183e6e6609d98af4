"""How many rows a learner on a GPU trains on, and how long the GPU waits for them, beside a plain loop.

    python packages/learner/benchmarks/gpu_learner.py [--rounds 7]

Both sides train the Nature CNN by IMPALA, once on each batch of the same fragments of stacked frames, and
take turns. The learner is the one of an asynchronous run, which loads a batch while it trains on the one
before; the plain loop, as one would write it in an afternoon, loads, trains, and loads again. What is
waited for are batches on the device: joining fragments and copying them, the first of each turn included.
`--device cpu --tiny` shows that the script runs, and says nothing about speed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from outrider.learner import IMPALASettings, LocalAsyncLearnerGroup
from outrider.learner.training.impala import IMPALALearner
from outrider.rlmodule import ModuleSettings, build_policy
from outrider.transport import FragmentReference, LocalFragment
from outrider.wire import BoxSpace, DiscreteSpace, EpisodeStatistics, Fragment, Streams

NUM_ACTIONS, NUM_FRAGMENTS, QUEUE = 6, 4, 4
FRAMES = (84, 84, 4)
SETTINGS = IMPALASettings(lr=1e-4, max_staleness=1_000_000, train_batch_size_per_learner=1)


@dataclass(frozen=True, slots=True)
class Size:
    """Streams of one fragment, their steps, and updates of one turn."""

    num_streams: int
    num_steps: int
    num_updates: int

    @property
    def num_rows(self) -> int:
        """Rows of one update."""
        return NUM_FRAGMENTS * self.num_streams * self.num_steps


FULL, TINY = Size(16, 32, 100), Size(1, 4, 3)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a side did in one turn."""

    rows_per_s: float
    wait_share: float


def make_fragment(size: Size, seed: int) -> Fragment:
    """Make rows of streams that nothing ended."""
    rng = np.random.default_rng(seed)
    num_rows = size.num_streams * size.num_steps
    return Fragment(
        streams=Streams(
            lengths=np.full(size.num_streams, size.num_steps),
            policy=np.zeros(size.num_streams, np.int32),
            environment=np.arange(size.num_streams, dtype=np.int32) + seed * size.num_streams,
            agent=np.zeros(size.num_streams, np.int32),
        ),
        observations={"": rng.integers(0, 256, (num_rows, *FRAMES), np.uint8)},
        actions={"": rng.integers(0, NUM_ACTIONS, num_rows)},
        rewards=rng.normal(size=num_rows).astype(np.float32),
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        next_rows=np.arange(1, size.num_streams + 1) * size.num_steps - 1,
        next_observations={"": rng.integers(0, 256, (size.num_streams, *FRAMES), np.uint8)},
        action_log_probs=np.full(num_rows, -np.log(NUM_ACTIONS), np.float32),
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


class Learner:
    """The learner of an asynchronous run, which begins each turn with nothing loaded."""

    def __init__(self, size: Size, device: torch.device) -> None:
        frames = BoxSpace(low=np.zeros(FRAMES, np.uint8), high=np.full(FRAMES, 255, np.uint8))
        settings = ModuleSettings(encoder="nature_cnn", vf_share_layers=True)
        policy = build_policy(frames, DiscreteSpace(num_values=NUM_ACTIONS), settings, seed=0)
        self.num_parameters = sum(each.numel() for each in policy.network.parameters())
        self._learner = IMPALALearner(policy, SETTINGS, seed=0, device=device)
        self._size = size

    def turn(self, fragments: list[Fragment]) -> Turn:
        """Train on all fragments as often as a turn asks for, and wait until it is done."""
        references: list[FragmentReference] = [LocalFragment(fragment) for fragment in fragments]
        began = time.perf_counter()
        group = LocalAsyncLearnerGroup(
            self._learner,
            train_batch_size=self._size.num_rows,
            max_staleness=SETTINGS.max_staleness,
            queue_capacity=QUEUE,
        )
        for _ in range(self._size.num_updates):
            while group.room < NUM_FRAGMENTS:
                time.sleep(1e-3)
            group.put(references)
        num_updates, wait_s = 0, 0.0
        while num_updates < self._size.num_updates:
            for report in group.reports(timeout_s=60.0):
                num_updates += report.num_updates
                wait_s += report.wait_s
        total_s = time.perf_counter() - began
        group.close()
        return Turn(num_updates * self._size.num_rows / total_s, wait_s / total_s)


class PlainLoop:
    """IMPALA by hand, with the fused optimiser."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self._size, self._device = size, device
        self._encoder = nn.Sequential(
            *(nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU()),
        ).to(device)
        self._actor, self._critic = nn.Linear(512, NUM_ACTIONS).to(device), nn.Linear(512, 1).to(device)
        modules = (self._encoder, self._actor, self._critic)
        self._parameters = [each for module in modules for each in module.parameters()]
        self.num_parameters = sum(each.numel() for each in self._parameters)
        self._optimizer = torch.optim.Adam(self._parameters, lr=1e-4, eps=1e-5, fused=True)

    def turn(self, fragments: list[Fragment]) -> Turn:
        """Train on all fragments as often as a turn asks for."""
        wait_s = 0.0
        began = time.perf_counter()
        for _ in range(self._size.num_updates):
            loading = time.perf_counter()
            batch = self._load(fragments)
            wait_s += time.perf_counter() - loading  # copies from memory that is not pinned are waited for
            self._update(*batch)
        total_s = time.perf_counter() - began
        return Turn(self._size.num_updates * self._size.num_rows / total_s, wait_s / total_s)

    def _load(self, fragments: list[Fragment]) -> list[Tensor]:
        columns = (
            [each.observations[""] for each in fragments],
            [each.next_observations[""] for each in fragments],
            [each.actions[""] for each in fragments],
            [each.rewards for each in fragments],
            [each.terminated for each in fragments],
            [each.action_log_probs for each in fragments],
        )
        return [torch.from_numpy(np.concatenate(column)).to(self._device) for column in columns]

    def _features(self, frames: Tensor) -> Tensor:
        features: Tensor = self._encoder(frames.permute(0, 3, 1, 2).float() / 255)
        return features

    def _update(
        self, frames: Tensor, last: Tensor, actions: Tensor, rewards: Tensor, ended: Tensor, acted: Tensor
    ) -> None:
        shape = (-1, self._size.num_steps)
        features = self._features(frames)
        log_probs_of_all = F.log_softmax(self._actor(features), -1)
        log_probs = log_probs_of_all.gather(1, actions[:, None]).squeeze(1)
        values = self._critic(features).view(shape)
        entropy = -(log_probs_of_all.exp() * log_probs_of_all).sum(-1).mean()
        with torch.no_grad():
            after = self._critic(self._features(last))
            following = torch.cat([values[:, 1:], after], 1)
            ratio = (log_probs - acted).exp().view(shape).clamp(max=1.0)
            goes_on = SETTINGS.gamma * ~ended.view(shape)
            difference = rewards.view(shape) + goes_on * following - values
            excess = torch.zeros_like(values)
            running = torch.zeros_like(values[:, 0])
            for t in reversed(range(self._size.num_steps)):
                running = ratio[:, t] * (difference[:, t] + goes_on[:, t] * running)
                excess[:, t] = running
            targets = values + excess
            of_next = torch.cat([excess[:, 1:], torch.zeros_like(after)], 1)
            advantages = ratio * (difference + goes_on * of_next)
        policy_loss = -(log_probs * advantages.view(-1)).mean()
        value_loss = (values - targets).square().mean()
        loss = policy_loss + SETTINGS.vf_loss_coeff * value_loss - 0.01 * entropy
        self._optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, 0.5)
        self._optimizer.step()
        parts = (policy_loss, value_loss, entropy, norm)
        torch.stack([part.detach() for part in parts]).tolist()


def spread(numbers: list[float], pattern: str) -> str:
    """Median [min, max]."""
    median, low, high = (
        format(number, pattern) for number in (statistics.median(numbers), min(numbers), max(numbers))
    )
    return f"{median} [{low}, {high}]"


def main() -> None:
    """Print what both sides reach, and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="few rows and updates, to see that it runs")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("this benchmark needs a GPU, and torch finds none; --device cpu --tiny shows that it runs")
    device, size = torch.device(given.device), TINY if given.tiny else FULL
    name = torch.cuda.get_device_name() if given.device == "cuda" else platform.machine()
    print(f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}")
    learner, plain = Learner(size, device), PlainLoop(size, device)
    if learner.num_parameters != plain.num_parameters:
        sys.exit(f"networks differ: {learner.num_parameters} and {plain.num_parameters} parameters")
    fragments = [make_fragment(size, seed) for seed in range(NUM_FRAGMENTS)]
    ours, theirs = [], []
    for _ in range(given.rounds + 1):
        ours.append(learner.turn(fragments))
        theirs.append(plain.turn(fragments))
    ours, theirs = ours[1:], theirs[1:]  # the first round warms up
    print(f"{size.num_rows} rows an update, {size.num_updates} updates a turn; median [minimum, maximum]")
    for side, turns in (("learner", ours), ("plain loop", theirs)):
        rows = spread([turn.rows_per_s for turn in turns], ",.0f")
        print(
            f"{side:10}  {rows} rows/s, waits for data {spread([turn.wait_share for turn in turns], '.1%')}"
        )
    ratios = [one.rows_per_s / other.rows_per_s for one, other in zip(ours, theirs, strict=True)]
    print(f"ratio       {spread(ratios, '.2f')}")


if __name__ == "__main__":
    main()
