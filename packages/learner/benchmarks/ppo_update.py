"""The whole PPO update against a plain PyTorch loop that does the same arithmetic.

    python packages/learner/benchmarks/ppo_update.py [--rounds 9]

Both sides get the same rows and weights and take turns in one process with one thread. "Update" is
everything from NumPy fragments to new weights: values, advantages, ten epochs of minibatches.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from outrider.learner import PPOLearner, PPOSettings
from outrider.rlmodule import ModuleSettings, Policy, build_policy
from outrider.testing.machine import machine
from outrider.wire import (
    BoxSpace,
    DiscreteSpace,
    EpisodeStatistics,
    Fragment,
    Streams,
    leaf_shape,
)

NUM_STREAMS, NUM_STEPS, EPOCHS, ENTROPY_COEFF = 32, 128, 10, 0.01
OBSERVATIONS = BoxSpace(low=np.full(4, -np.inf, np.float32), high=np.full(4, np.inf, np.float32))
CONTROLS = BoxSpace(low=np.full(6, -1.0, np.float32), high=np.full(6, 1.0, np.float32))
OBSERVATIONS_17 = BoxSpace(low=np.full(17, -np.inf, np.float32), high=np.full(17, np.inf, np.float32))


def make_fragment(policy: Policy) -> Fragment:
    """Make 4,096 rows of 32 streams in which one row in fifty ends an episode."""
    rng = np.random.default_rng(0)
    num_rows = NUM_STREAMS * NUM_STEPS
    ended = rng.random(num_rows) < 0.02
    truncated = ended & (rng.random(num_rows) < 0.5)
    has_next = truncated.copy()
    has_next.reshape(NUM_STREAMS, NUM_STEPS)[:, -1] |= ~ended.reshape(NUM_STREAMS, NUM_STEPS)[:, -1]
    next_rows = np.flatnonzero(has_next)
    shape = leaf_shape(policy.observation_space)  # type: ignore[arg-type]
    observations = rng.normal(size=(num_rows, *shape)).astype(np.float32)
    head = policy.action_heads[0]
    actions = (
        rng.integers(0, head.sizes[0], num_rows)
        if head.kind == "categorical"
        else rng.normal(size=(num_rows, len(head.sizes))).astype(np.float32)
    )
    with torch.no_grad():
        parameters, _ = policy({"": torch.from_numpy(observations)})
        log_probs = policy.distribution.log_prob(parameters, {"": torch.from_numpy(actions)})
    return Fragment(
        streams=Streams(
            lengths=np.full(NUM_STREAMS, NUM_STEPS),
            policy=np.zeros(NUM_STREAMS, np.int32),
            environment=np.arange(NUM_STREAMS, dtype=np.int32),
            agent=np.zeros(NUM_STREAMS, np.int32),
        ),
        observations={"": observations},
        actions={"": actions},
        rewards=rng.normal(size=num_rows).astype(np.float32),
        terminated=ended & ~truncated,
        truncated=truncated,
        next_rows=next_rows,
        next_observations={"": rng.normal(size=(len(next_rows), *shape)).astype(np.float32)},
        action_log_probs=log_probs.numpy(),
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


class PlainLoop:
    """PPO as one would write it in an afternoon, with the fused optimiser."""

    def __init__(self, policy: Policy, settings: PPOSettings) -> None:
        network: Any = copy.deepcopy(policy.network)
        self.actor = mlp(network.policy_encoder, network.policy_head)
        self.critic = mlp(network.value_encoder, network.value_head)
        head = policy.action_heads[0]
        self.log_std = None if head.kind == "categorical" else nn.Parameter(torch.zeros(len(head.sizes)))
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        if self.log_std is not None:
            self.parameters.append(self.log_std)
        self.optimizer = torch.optim.Adam(self.parameters, lr=3e-4, eps=1e-5, fused=True)
        self.settings = settings

    def distribution(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy."""
        if self.log_std is None:
            log_probs = F.log_softmax(outputs, -1)
            entropy = -(log_probs.exp() * log_probs).sum(-1)
            return log_probs.gather(1, actions[:, None]).squeeze(1), entropy
        normal = torch.distributions.Normal(
            outputs, self.log_std.exp().expand_as(outputs), validate_args=False
        )
        return normal.log_prob(actions).sum(-1), normal.entropy().sum(-1)

    def update(self, fragment: Fragment) -> None:
        """Learn from one fragment of equally long streams."""
        settings = self.settings
        observations = torch.from_numpy(fragment.observations[""])
        actions = torch.from_numpy(fragment.actions[""])
        old_log_probs = torch.from_numpy(fragment.action_log_probs)
        shape = (NUM_STREAMS, NUM_STEPS)
        rewards = torch.from_numpy(fragment.rewards).view(shape)
        terminated = torch.from_numpy(fragment.terminated).view(shape)
        done = terminated | torch.from_numpy(fragment.truncated).view(shape)
        with torch.no_grad():
            values = self.critic(observations).view(shape)
            next_values = torch.zeros_like(values)
            next_values[:, :-1] = values[:, 1:]
            following = self.critic(torch.from_numpy(fragment.next_observations[""])).squeeze(1)
            next_values.view(-1)[torch.from_numpy(fragment.next_rows)] = following
            deltas = rewards + settings.gamma * next_values * ~terminated - values
            advantages = torch.zeros_like(values)
            running = torch.zeros(NUM_STREAMS)
            for t in reversed(range(NUM_STEPS)):
                running = deltas[:, t] + settings.gamma * settings.lambda_ * ~done[:, t] * running
                advantages[:, t] = running
            targets = (advantages + values).view(-1)
            advantages = advantages.view(-1)
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        metrics = []
        for _ in range(settings.num_epochs):
            order = torch.randperm(len(actions))
            for start in range(0, len(order), settings.minibatch_size):
                index = order[start : start + settings.minibatch_size]
                minibatch = observations[index]
                log_probs, entropies = self.distribution(self.actor(minibatch), actions[index])
                log_ratio = log_probs - old_log_probs[index]
                ratio = log_ratio.exp()
                advantage = advantages[index]
                clipped = ratio.clamp(1 - 0.2, 1 + 0.2) * advantage
                policy_loss = -torch.min(ratio * advantage, clipped).mean()
                value_loss = (self.critic(minibatch).squeeze(1) - targets[index]).square().mean()
                entropy = entropies.mean()
                loss = policy_loss - ENTROPY_COEFF * entropy + settings.vf_loss_coeff * value_loss
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                norm = nn.utils.clip_grad_norm_(self.parameters, 0.5)
                self.optimizer.step()
                with torch.no_grad():
                    divergence = (ratio - 1 - log_ratio).mean()
                    clip_fraction = ((ratio - 1).abs() > 0.2).float().mean()
                parts = (policy_loss, value_loss, entropy, divergence, clip_fraction, norm)
                metrics.append(torch.stack([part.detach() for part in parts]))
        torch.stack(metrics).mean(0).tolist()


def mlp(*modules: nn.Module) -> nn.Sequential:
    """Put the linear layers of some modules into a bare stack with tanh between them."""
    linear = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]
    layers: list[nn.Module] = []
    for layer in linear[:-1]:
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers, linear[-1])


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(name: str, policy: Policy, minibatch_size: int, rounds: int) -> None:
    """Print one line: both sides and the ratio of each round."""
    settings = PPOSettings(minibatch_size=minibatch_size, num_epochs=EPOCHS, entropy_coeff=ENTROPY_COEFF)
    fragment = make_fragment(policy)
    plain = PlainLoop(policy, settings)
    learner = PPOLearner(policy, settings, seed=0)
    ours_s: list[tuple[float, float]] = []
    plain_s: list[tuple[float, float]] = []
    for round_ in range(rounds + 1):
        turns = [(ours_s, lambda: learner.update([fragment])), (plain_s, lambda: plain.update(fragment))]
        for times, work in turns[:: 1 if round_ % 2 else -1]:
            times.append(seconds(work))
    for clock, index in (("wall", 0), ("cpu", 1)):
        # The first round warms up.
        ours_c, plain_c = [x[index] for x in ours_s[1:]], [x[index] for x in plain_s[1:]]
        ratios = [a / b for a, b in zip(ours_c, plain_c, strict=True)]
        times = f"ours {spread(ours_c)}  plain {spread(plain_c)}  ratio {spread(ratios)}"
        print(f"{name:11} minibatch {minibatch_size:3} {clock:4} {times}")


def spread(numbers: list[float]) -> str:
    """Median [min, max]."""
    return f"{statistics.median(numbers):.3f} [{min(numbers):.3f}, {max(numbers):.3f}]"


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="timed updates of each side and case")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{machine('torch', 'numpy')}, 1 thread")
    print(f"{NUM_STREAMS * NUM_STEPS} rows, {EPOCHS} epochs, 2x64 tanh, separate value network")
    print("seconds and their ratio, median [min, max]")
    discrete = DiscreteSpace(num_values=2)
    for size in (128, 512):
        compare("categorical", build_policy(OBSERVATIONS, discrete, ModuleSettings(), seed=0), size, rounds)
        compare("gaussian", build_policy(OBSERVATIONS_17, CONTROLS, ModuleSettings(), seed=0), size, rounds)


if __name__ == "__main__":
    main()
