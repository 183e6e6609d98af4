"""Trains simple_spread of PettingZoo's particle environments with MAPPO or independent critics.

    pip install mpe2
    python examples/simple_spread_mappo.py
    python examples/simple_spread_mappo.py --critic own

Three agents share one policy and are to cover three landmarks without running into each other. With
`--critic central` (MAPPO, Yu et al. 2022) values are estimated from the environment's global state; with
`own` from what each agent sees (IPPO). Acting needs no more than what an agent sees in either case.
Episodes are cut after 25 steps, and what would follow is valued: estimates that begin at 0 come true sooner
with a lower `gamma`, and where each pass over the rows estimates anew.
Returns are sums over the three agents; the gain is over policies that have not learned anything yet.
"""

from __future__ import annotations

import argparse
import sys

from outrider.algorithm import PPOConfig


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--critic", choices=["central", "own"], default="central")
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    config = (
        PPOConfig()
        .environment("mpe2.simple_spread_v3:parallel_env")
        .env_runners(num_envs_per_env_runner=given.num_envs)
        .multi_agent(policies="shared", critic=given.critic)
        .rl_module(normalize_observations=True, normalize_rewards=True)
        .training(
            train_batch_size_per_learner=50 * given.num_envs,
            minibatch_size=600,
            lr=1e-3,
            gamma=0.95,
            lambda_=0.9,
            recompute_advantages=True,
        )
        .evaluation(evaluation_duration=4 * given.num_envs, evaluation_num_envs=given.num_envs)
        .debugging(seed=given.seed)
    )
    try:
        algorithm = config.build()
    except ValueError as error:  # mpe2 is not installed
        sys.exit(str(error))
    with algorithm:
        before = algorithm.evaluate()["episode_return_mean"]
        for iteration in range(1, given.iterations + 1):
            metrics = algorithm.train()
            if iteration % 10 == 0 or iteration == given.iterations:
                print(
                    f"{metrics['num_env_steps']:>10,} steps  "
                    f"{metrics['agent_steps_per_s']:>9,.0f} agent steps/s  "
                    f"return {metrics['episode_return_mean']:7.1f}",
                    flush=True,
                )
        after = algorithm.evaluate()["episode_return_mean"]
    print(
        f"return without exploration {before:.1f} before, {after:.1f} after: a gain of {after - before:.1f}"
    )


if __name__ == "__main__":
    main()
