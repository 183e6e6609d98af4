"""Trains CartPole for several agents: a policy for each, or one for all.

    python examples/multi_agent_cartpole.py
    python examples/multi_agent_cartpole.py --num-agents 64 --policies per_agent

Each agent balances a pole of its own in one environment, which ends when all poles have fallen; the
return is the sum over agents. Policies of one architecture are computed together, so that many cost
little more than few: two or a thousand policies are one call of the policy graph for each step, and one
array of weights to train.
"""

from __future__ import annotations

import argparse

from outrider.algorithm import PPOConfig


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-agents", type=int, default=2)
    parser.add_argument("--policies", choices=["per_agent", "shared"], default="per_agent")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .multi_agent(num_agents=given.num_agents, policies=given.policies)
        .env_runners(num_envs_per_env_runner=given.num_envs)
        .training(lr=1e-3, train_batch_size_per_learner=128 * given.num_envs)
        .debugging(seed=given.seed)
    )
    with config.build() as algorithm:
        for _ in range(given.iterations):
            metrics = algorithm.train()
            low, high = (metrics[f"policy_return_p{p}"] for p in (10, 90))
            print(
                f"{metrics['num_env_steps']:>9,} steps  {metrics['agent_steps_per_s']:>9,.0f} agent steps/s  "
                f"{metrics['num_policies']} policies, most of them from {low:.1f} to {high:.1f}",
                flush=True,
            )
        evaluation = algorithm.evaluate(20)
    for name in ("p10", "p50", "p90"):
        print(
            f"{name} of the policies' returns without exploration: {evaluation[f'policy_return_{name}']:.1f}"
        )


if __name__ == "__main__":
    main()
