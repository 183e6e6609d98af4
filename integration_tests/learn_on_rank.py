"""Learns from CartPole fragments with every algorithm, alone or as one of two ranks; writes the weights down.

Run by test_two_ranks.py as `python learn_on_rank.py FOLDER alone|0|1`.
"""

import datetime as dt
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed

from outrider.envrunner import EnvironmentSettings, EnvRunner, EnvRunnerSettings, OnnxPolicy
from outrider.envrunner.environments.environment import spaces_of
from outrider.learner import (
    APPOSettings,
    IMPALASettings,
    MeshRanks,
    OneRank,
    PPOSettings,
    Ranks,
    make_learner,
)
from outrider.rlmodule import ModuleSettings, Policy, build_policy, export_graph
from outrider.wire import Fragment

ENVIRONMENT = EnvironmentSettings("CartPole-v1")
RUNNER = EnvRunnerSettings(num_envs_per_env_runner=2)
SETTINGS: dict[str, PPOSettings | IMPALASettings | APPOSettings] = {
    "ppo": PPOSettings(minibatch_size=1000, num_epochs=3, lr=1e-3),
    "impala": IMPALASettings(lr=1e-3),
    "appo": APPOSettings(lr=1e-3, use_kl_loss=True),
}
NUM_STEPS = (40, 17)
"""Of the two shards: their numbers of rows differ."""


def make_policy() -> Policy:
    observation_space, action_space = spaces_of(ENVIRONMENT, "sync")
    settings = ModuleSettings(normalize_observations=True, normalize_rewards=True)
    return build_policy(observation_space, action_space, settings, seed=0)


def sample(shard: int) -> Fragment:
    policy = make_policy()
    runner = EnvRunner(
        ENVIRONMENT,
        RUNNER,
        OnnxPolicy(export_graph(policy)),
        observation_space=policy.observation_space,
        action_heads=policy.action_heads,
        num_steps=NUM_STEPS[shard],
        seed=0,
        first_environment=2 * shard,
    )
    runner.set_weights(policy.weights(0))
    fragment = runner.sample()
    runner.close()
    return fragment


def join_group(folder: Path, rank: int) -> Ranks:
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting-point'}",
        rank=rank,
        world_size=2,
        timeout=dt.timedelta(seconds=60),
    )
    return MeshRanks(torch.distributed.init_device_mesh("cpu", (2,), mesh_dim_names=("data",)))


def main(folder: Path, who: str) -> None:
    torch.set_num_threads(1)
    if who == "alone":
        ranks: Ranks = OneRank()
        fragments = [sample(0), sample(1)]
    else:
        ranks = join_group(folder, int(who))
        fragments = [sample(int(who))]
    for name, settings in SETTINGS.items():
        learner = make_learner(name, make_policy(), settings, seed=ranks.rank, ranks=ranks)
        for _ in range(10):
            learner.update(fragments)
        np.savez(folder / f"{name}-{who}.npz", **learner.publish().tensors)
    if who != "alone":
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
