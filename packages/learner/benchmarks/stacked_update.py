"""An update of P policies, stacked, against a loop over policies that does the same arithmetic.

    python packages/learner/benchmarks/stacked_update.py [--policies 1 10 100 1000 10000] [--rounds 5]

Each policy has an actor and a critic of 2x64, its own Adam and a few rows, the same number for each or
Zipf-distributed. Both sides get the same rows and weights and take turns in one process with one thread. An
update is everything from rows to new weights: values, advantages, and one epoch. The loop has a module and a
fused optimiser for each policy and no stacked tensor anywhere.
"""

import argparse
import cProfile
import platform
import pstats
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from outrider.learner import PPOSettings, StackedPPOLearner
from outrider.learner.plans.multi_agent_plan import StackPlan
from outrider.learner.stacks.stack_learner import StackLearner
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace, EpisodeStatistics, Fragment, Streams

NUM_OBSERVATIONS, NUM_ACTIONS = 8, 4
RECIPE = PolicyRecipe(
    observation_space=BoxSpace(
        low=np.full(NUM_OBSERVATIONS, -np.inf, np.float32), high=np.full(NUM_OBSERVATIONS, np.inf, np.float32)
    ),
    action_space=DiscreteSpace(num_values=NUM_ACTIONS),
    settings=ModuleSettings(),
    seed=0,
)
SETTINGS = PPOSettings(num_epochs=1, minibatch_size=128)


def make_fragment(num_rows_P: NDArray[np.int64]) -> Fragment:
    """Make a stream for each policy, none of which ends."""
    rng = np.random.default_rng(0)
    num_policies, num_rows = len(num_rows_P), int(num_rows_P.sum())
    return Fragment(
        streams=Streams(
            lengths=num_rows_P,
            policy=np.arange(num_policies, dtype=np.int32),
            environment=np.arange(num_policies, dtype=np.int32),
            agent=np.zeros(num_policies, np.int32),
        ),
        observations={"": rng.normal(size=(num_rows, NUM_OBSERVATIONS)).astype(np.float32)},
        actions={"": rng.integers(0, NUM_ACTIONS, num_rows)},
        rewards=rng.normal(size=num_rows).astype(np.float32),
        terminated=np.zeros(num_rows, bool),
        truncated=np.zeros(num_rows, bool),
        next_rows=num_rows_P.cumsum() - 1,
        next_observations={"": rng.normal(size=(num_policies, NUM_OBSERVATIONS)).astype(np.float32)},
        action_log_probs=np.full(num_rows, np.log(1.0 / NUM_ACTIONS), np.float32),
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


def make_stack(num_policies: int) -> PolicyStack:
    """Make policies of one seed, which is quicker than one each; the rows make them differ."""
    stack = PolicyStack(RECIPE, [0])
    first = stack.tensors
    stack.tensors = {n: t.expand(num_policies, *t.shape[1:]).clone() for n, t in first.items()}
    return stack


def make_learner(num_policies: int) -> StackLearner:
    """Make what a run makes, where a policy that trains alone has a plain learner."""
    stack = StackPlan(
        name="mlp", policy=RECIPE, training=SETTINGS, seeds=dict.fromkeys(range(num_policies), 0)
    )
    return stack.make_learner("ppo", seed=0, device=torch.device("cpu"))


class PolicyRows(NamedTuple):
    """What the loop is given of one policy."""

    observations: Tensor
    next_observation: Tensor
    actions: Tensor
    rewards: Tensor
    log_probs: Tensor


class PlainLoop:
    """One policy after the other, as one would write it in an afternoon."""

    def __init__(self, fragment: Fragment) -> None:
        sizes = fragment.streams.lengths.tolist()
        columns = (fragment.observations[""], fragment.next_observations[""], fragment.actions[""])
        observations, following, actions = map(torch.from_numpy, columns)
        self.rows = [
            PolicyRows(*parts)
            for parts in zip(
                observations.split(sizes),
                following.split(1),
                actions.split(sizes),
                torch.from_numpy(fragment.rewards).split(sizes),
                torch.from_numpy(fragment.action_log_probs).split(sizes),
                strict=True,
            )
        ]
        self.actors = [mlp(NUM_ACTIONS) for _ in sizes]
        self.critics = [mlp(1) for _ in sizes]
        self.parameters = [
            [*a.parameters(), *c.parameters()] for a, c in zip(self.actors, self.critics, strict=True)
        ]
        self.optimizers = [torch.optim.Adam(p, lr=3e-4, eps=1e-5, fused=True) for p in self.parameters]

    def update(self) -> None:
        """Train each policy on its rows."""
        for policy in range(len(self.rows)):
            self.train(policy)

    def train(self, policy: int) -> None:
        """Train one policy."""
        rows, actor, critic = self.rows[policy], self.actors[policy], self.critics[policy]
        with torch.no_grad():
            values = critic(torch.cat((rows.observations, rows.next_observation))).squeeze(1)
            deltas = rows.rewards + SETTINGS.gamma * values[1:] - values[:-1]
            decay = SETTINGS.gamma * SETTINGS.lambda_
            running, backwards = 0.0, []
            for delta in reversed(deltas.tolist()):
                running = delta + decay * running
                backwards.append(running)
            advantages = torch.tensor(backwards[::-1])
            targets = advantages + values[:-1]
            advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
        metrics = []
        for index in torch.randperm(len(targets)).split(SETTINGS.minibatch_size):
            observations, advantage = rows.observations[index], advantages[index]
            log_probs = F.log_softmax(actor(observations), -1)
            entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
            log_ratio = log_probs.gather(1, rows.actions[index, None]).squeeze(1) - rows.log_probs[index]
            ratio = log_ratio.exp()
            policy_loss = -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
            value_loss = (critic(observations).squeeze(1) - targets[index]).square().mean()
            self.optimizers[policy].zero_grad()
            (policy_loss + SETTINGS.vf_loss_coeff * value_loss).backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.parameters[policy], 0.5)
            self.optimizers[policy].step()
            with torch.no_grad():
                divergence = (ratio - 1 - log_ratio).mean()
                clipped = ((ratio - 1).abs() > 0.2).float().mean()
            metrics.append(
                torch.stack((policy_loss, value_loss, entropy, divergence, clipped, norm)).detach()
            )
        torch.stack(metrics).mean(0).tolist()


def mlp(num_outputs: int) -> nn.Sequential:
    """Make 2x64 tanh."""
    return nn.Sequential(
        nn.Linear(NUM_OBSERVATIONS, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, num_outputs)
    )


def zipf_rows(num_policies: int, num_rows: int) -> NDArray[np.int64]:
    """Divide rows among policies like 1, 1/2, 1/3, ...; at least one each."""
    share_P = 1.0 / np.arange(1, num_policies + 1)
    rows_P = np.maximum(1, share_P / share_P.sum() * num_rows).astype(np.int64)
    rows_P[0] += num_rows - rows_P.sum()
    return np.random.default_rng(1).permutation(rows_P)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    cpu = time.process_time()
    work()
    return time.process_time() - cpu


def compare(name: str, num_rows_P: NDArray[np.int64], rounds: int, *, plain_too: bool) -> None:
    """Print one line: both sides and the ratio of each round."""
    fragment = make_fragment(num_rows_P)
    learner = make_learner(len(num_rows_P))
    plain = PlainLoop(fragment) if plain_too else None
    ours_s, plain_s = [], []
    for _ in range(rounds + 1):
        ours_s.append(seconds(lambda: learner.update([fragment])))
        if plain is not None:
            plain_s.append(seconds(plain.update))
    # The first round warms up.
    line = f"{name:24} stacked {spread(ours_s[1:], 1e3)} ms"
    if plain is not None:
        ratios = [b / a for a, b in zip(ours_s[1:], plain_s[1:], strict=True)]
        line += f"  loop {spread(plain_s[1:], 1e3)} ms  ratio {spread(ratios)}"
    print(line, flush=True)


def profile(num_rows_P: NDArray[np.int64]) -> None:
    """Print where an update's time goes."""
    fragment = make_fragment(num_rows_P)
    learner = StackedPPOLearner(make_stack(len(num_rows_P)), SETTINGS, numbers=range(len(num_rows_P)), seed=0)
    learner.update([fragment])
    with cProfile.Profile() as profiler:
        learner.update([fragment])
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def memory(num_policies: int) -> None:
    """Print what a policy takes."""
    learner = StackedPPOLearner(make_stack(num_policies), SETTINGS, numbers=range(num_policies), seed=0)
    kept = learner._kept  # noqa: SLF001 - a benchmark looks inside
    moments = [*kept.first_moments.values(), *kept.second_moments.values()]
    tensors = [*moments, *learner.stack.tensors.values()]
    num_bytes = sum(t.nelement() * t.element_size() for t in tensors)
    num_bytes += sum(column.nbytes for column in kept.counters.values())
    width = sum(tensor[0].numel() for tensor in kept.first_moments.values())
    size = num_bytes / num_policies
    print(f"a policy of {width} numbers takes {size:.0f} bytes, {size / width:.2f} for each")


def spread(numbers: list[float], scale: float = 1.0) -> str:
    """Median [min, max]."""
    low, middle, high = (f(numbers) * scale for f in (min, statistics.median, max))
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--policies", type=int, nargs="*", default=[1, 10, 100, 1000, 10_000])
    parser.add_argument("--rows", type=int, default=4, help="rows of each policy")
    parser.add_argument("--rounds", type=int, default=5, help="timed updates of each side and case")
    parser.add_argument("--no-loop", action="store_true", help="time the stacked side alone")
    parser.add_argument("--no-zipf", action="store_true", help="leave out Zipf-distributed rows")
    parser.add_argument("--profile", action="store_true", help="print where time goes, and nothing else")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.profile:
        profile(np.full(given.policies[0], given.rows))
        return
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    print(f"{models[0] if models else platform.machine()}, 1 thread")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}")
    print("CPU time of an update and their ratio, median [min, max]")
    for num_policies in given.policies:
        name = f"P = {num_policies}, {given.rows} rows each"
        compare(name, np.full(num_policies, given.rows), given.rounds, plain_too=not given.no_loop)
    if not given.no_zipf:
        compare("P = 1000, Zipf, 32000", zipf_rows(1000, 32_000), given.rounds, plain_too=not given.no_loop)
    memory(100)


if __name__ == "__main__":
    main()
