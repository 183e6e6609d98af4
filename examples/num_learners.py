"""Learns with several ranks, each of which takes its share of every fragment.

    python examples/num_learners.py --num-learners 2
    python examples/num_learners.py --num-learners 4 --num-gpus-per-learner 1

Ranks are Ray actors in one torch.distributed group: NCCL between GPUs, gloo between cores. However many
there are, an update trains on the same rows and gives the same weights, to the last digits of float32;
more ranks only make it faster, and only where an update is mostly arithmetic. Hence the wide network:
with --width 64 expect a single learner to win.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median

from outrider.algorithm import PPOConfig


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-learners", type=int, default=2, help="0 learns in this process")
    parser.add_argument("--num-gpus-per-learner", type=float, default=0.0)
    parser.add_argument("--width", type=int, default=1024, help="units in each of the two layers")
    parser.add_argument("--num-rows", type=int, default=4096, help="rows of an update, over all ranks")
    parser.add_argument("--iterations", type=int, default=5)
    given = parser.parse_args()
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=16)
        .learners(num_learners=given.num_learners, num_gpus_per_learner=given.num_gpus_per_learner)
        .rl_module(fcnet_hiddens=(given.width, given.width))
        .training(
            train_batch_size_per_learner=given.num_rows // max(1, given.num_learners),
            minibatch_size=given.num_rows // max(1, given.num_learners) // 4,
            num_epochs=2,
        )
    )
    try:
        algorithm = config.build()
    except ValueError as error:  # too few cores or GPUs: said before anything is started
        sys.exit(str(error))
    with algorithm:
        algorithm.train()  # starts the environments and warms torch up; not measured
        learner_s = [algorithm.train()["learner_s"] for _ in range(given.iterations)]
    print(
        f"{given.num_learners} learners, {given.num_rows} rows: "
        f"{median(learner_s):.3f} s an update [{min(learner_s):.3f}, {max(learner_s):.3f}]"
    )


if __name__ == "__main__":
    main()
