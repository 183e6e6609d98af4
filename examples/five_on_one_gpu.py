"""Packs five runs onto one GPU: each has a learner that reserves a fifth of it.

    python examples/five_on_one_gpu.py

The runs differ in their learning rate and train side by side, each with a runner of its own; all share
the Ray that the first of them starts. Expect five lines of returns, and a sixth run to be refused in one
sentence, as nothing of the GPU is left. Without a GPU the first run is refused in the same way.
Reserving is book-keeping: nothing keeps a learner from using more of the GPU's memory than its fifth.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from outrider.algorithm import Algorithm, PPOConfig

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 2e-3, 5e-3)


def config(lr: float) -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=1, num_envs_per_env_runner=8)
        .learners(num_learners=1, num_gpus_per_learner=0.2)
        .training(lr=lr, train_batch_size_per_learner=1024, minibatch_size=256)
        .debugging(seed=0)
    )


def train(algorithm: Algorithm, iterations: int) -> float:
    """Train and return the mean return of the last episodes."""
    metrics = {}
    for _ in range(iterations):
        metrics = algorithm.train()
    return float(metrics["episode_return_mean"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=30)
    given = parser.parse_args()
    with ExitStack() as stack:
        try:
            algorithms = [stack.enter_context(config(lr).build()) for lr in LEARNING_RATES]
        except ValueError as error:  # what was asked for, what there is, and what to do
            stack.close()
            sys.exit(str(error))
        with ThreadPoolExecutor(len(algorithms)) as threads:
            returns = threads.map(train, algorithms, [given.iterations] * len(algorithms))
            for lr, mean in zip(LEARNING_RATES, returns, strict=True):
                print(f"learning rate {lr:g}: return {mean:.1f} after {given.iterations} iterations")
        try:
            stack.enter_context(config(LEARNING_RATES[0]).build())
        except ValueError as error:
            print(f"a sixth: {error}")


if __name__ == "__main__":
    main()
