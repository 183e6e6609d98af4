"""What the processes of a run reserve, as its settings say. Free of Ray."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.envrunner import EnvRunnerSettings
    from outrider.learner import LearnerGroupSettings

CPU, GPU = "CPU", "GPU"
"""Ray's names of resources that every node may have; others are custom ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundles:
    """Processes of one kind, each of which reserves the same."""

    kind: str
    """What one of them is called."""
    num: int
    """How many there are."""
    resources: Mapping[str, float]
    """What each reserves, by Ray's names; never 0."""
    num_setting: str
    """The setting that says how many."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """For each resource, the setting that asks for it."""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """Ray's runtime environment of each; empty: that of the driver."""

    def count(self) -> str:
        """Say how many of what there are."""
        return f"{self.num} {self.kind}{'s' * (self.num != 1)}"

    def amount(self, resource: str) -> float:
        """Return how much each one reserves of a resource."""
        return self.resources.get(resource, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What all processes of a run reserve together."""

    runners: Bundles
    learners: Bundles

    @property
    def groups(self) -> tuple[Bundles, ...]:
        """The kinds of process that reserve something."""
        return tuple(group for group in (self.runners, self.learners) if group.num and group.resources)

    @property
    def num_processes(self) -> int:
        """How many processes there are, those that reserve nothing included."""
        return self.runners.num + self.learners.num

    def without(self, resource: str) -> Demand:
        """Return the same demand where nobody reserves this resource."""
        runners, learners = (
            replace(kind, resources={name: each for name, each in kind.resources.items() if name != resource})
            for kind in (self.runners, self.learners)
        )
        return Demand(runners=runners, learners=learners)

    def total(self, resource: str) -> float:
        """Return how much all of them reserve."""
        return sum(group.num * group.amount(resource) for group in self.groups)

    def resources(self) -> tuple[str, ...]:
        """Return what is reserved: GPUs first, custom resources, and CPUs, which are the easiest to find."""
        names = {name for group in self.groups for name in group.resources}
        return tuple(sorted(names, key=lambda name: (name != GPU, name == CPU, name)))


def demand_of(runners: EnvRunnerSettings, learners: LearnerGroupSettings, *, num_learners: int) -> Demand:
    """Return what runners and learners that are actors on Ray reserve; nobody else reserves anything.

    `num_learners` stands apart because the setting may be "auto". Raises ValueError where GPUs are asked
    for in a way in which Ray cannot give them.
    """
    return Demand(
        runners=_bundles(
            "env runner",
            "num_env_runners",
            runners.num_ray_env_runners,
            {
                CPU: ("num_cpus_per_env_runner", runners.num_cpus_per_env_runner),
                GPU: ("num_gpus_per_env_runner", runners.num_gpus_per_env_runner),
            },
            ("custom_resources_per_env_runner", runners.custom_resources_per_env_runner),
            runners.env_runner_runtime_env,
        ),
        learners=_bundles(
            "learner",
            "num_learners",
            num_learners,
            {
                CPU: ("num_cpus_per_learner", learners.num_cpus_per_learner),
                GPU: ("num_gpus_per_learner", learners.num_gpus_per_learner),
            },
            ("custom_resources_per_learner", learners.custom_resources_per_learner),
            learners.learner_runtime_env,
        ),
    )


def _bundles(
    kind: str,
    num_setting: str,
    num: int,
    amounts: Mapping[str, tuple[str, float]],
    custom: tuple[str, Mapping[str, float]],
    runtime_env: Mapping[str, Any],
) -> Bundles:
    setting, amount = amounts[GPU]
    if num and amount > 1 and amount != int(amount):
        raise ValueError(
            f"{setting}={amount:g} takes part of another GPU, which Ray does not give; set a fraction below "
            "1 or a whole number"
        )
    setting, own = custom
    asked = {**amounts, **{name: (setting, amount) for name, amount in own.items()}}
    return Bundles(
        kind=kind,
        num=num,
        resources={name: float(amount) for name, (_, amount) in asked.items() if amount > 0},
        num_setting=num_setting,
        settings={name: setting for name, (setting, _) in asked.items()},
        runtime_env=runtime_env,
    )
