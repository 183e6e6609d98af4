"""Samples with many runners, here or on a cluster, and prints what they do together.

    python examples/many_runners.py --num-env-runners 4
    python examples/many_runners.py --num-env-runners 64 --ray-address 10.0.0.1:6379

Runners are Ray actors. IMPALA never waits for the slowest of them: each samples without pause, with the
newest weights that it holds. Without an address a Ray is started on this machine for as long as the
script runs. Expect the speed to grow with the number of runners until the cores are busy or the learner
is, and the last line to say which of the two it is.
"""

from __future__ import annotations

import argparse
import sys

from outrider.algorithm import IMPALAConfig


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-env-runners", type=int, default=4)
    parser.add_argument("--num-envs-per-env-runner", type=int, default=8)
    parser.add_argument("--num-cpus-per-env-runner", type=float, default=1.0)
    parser.add_argument("--ray-address", help="host:port of a head node, or auto")
    parser.add_argument("--iterations", type=int, default=20)
    given = parser.parse_args()
    config = (
        IMPALAConfig()
        .environment("CartPole-v1")
        .resources(ray_address=given.ray_address)
        .env_runners(
            num_env_runners=given.num_env_runners,
            num_envs_per_env_runner=given.num_envs_per_env_runner,
            num_cpus_per_env_runner=given.num_cpus_per_env_runner,
        )
    )
    try:
        algorithm = config.build()
    except ValueError as error:  # too few cores, nobody at the address: said before anything is started
        sys.exit(str(error))
    with algorithm:
        for _ in range(given.iterations):
            metrics = algorithm.train()
            print(
                f"{metrics['num_env_runners']:4} runners  {metrics['num_env_steps']:>10,} steps  "
                f"{metrics['env_steps_per_s']:>9,.0f} steps/s  "
                f"return {metrics['episode_return_mean']:6.1f}",
                flush=True,
            )
    print(metrics["bottleneck"])


if __name__ == "__main__":
    main()
