"""The sections that the configuration of every algorithm has, and what can be done with it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Generic, TypeVar

from outrider.algorithm.settings.checkpointing import CheckpointSettings
from outrider.algorithm.settings.evaluation_settings import EvaluationSettings
from outrider.algorithm.settings.multi_agent_settings import MultiAgentSettings
from outrider.algorithm.settings.resource_settings import ResourceSettings
from outrider.algorithm.settings.run_settings import DebugSettings, NetworkSettings, RunSettings
from outrider.algorithm.settings.section import Section, settings_of
from outrider.algorithm.settings.settings_elsewhere import said_elsewhere
from outrider.algorithm.settings.stopping import StopSettings
from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.nearest import did_you_mean
from outrider.learner import LearnerGroupSettings

if TYPE_CHECKING:
    from outrider.algorithm.algorithm import Algorithm

R = TypeVar("R", bound=RunSettings)


class AlgorithmConfig(Generic[R]):
    """A configuration under construction. Every section replaces the given fields and returns the config.

    >>> from outrider.algorithm import PPOConfig
    >>> config = PPOConfig().environment("CartPole-v1").env_runners(num_envs_per_env_runner=8)
    >>> config.settings.env_runners.num_envs_per_env_runner
    8
    """

    settings_class: type[R]

    environment = Section(EnvironmentSettings)
    env_runners = Section(EnvRunnerSettings)
    learners = Section(LearnerGroupSettings)
    rl_module = Section(NetworkSettings)
    multi_agent = Section(MultiAgentSettings)
    resources = Section(ResourceSettings)
    evaluation = Section(EvaluationSettings)
    stopping = Section(StopSettings)
    checkpointing = Section(CheckpointSettings)
    debugging = Section(DebugSettings)

    if not TYPE_CHECKING:  # which would believe that there is everything

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError, which says what is asked for here instead."""
            sections = settings_of(type(self))
            instead = None if name.startswith("_") else said_elsewhere(name, sections)
            instead = instead or did_you_mean(name, [*sections, "settings", "build"])
            raise AttributeError(f"{type(self).__name__} has no {name!r}; {instead}", name=name, obj=self)

    @property
    def settings(self) -> R:
        """The settings as they now stand. Raises ValueError where there is no environment yet."""
        sections = [section.name for section in fields(self.settings_class)]
        return self.settings_class(**{name: getattr(type(self), name).of(self) for name in sections})

    def build(self, *, run_name: str | None = None) -> Algorithm:
        """Make runners, policy and learners, ready to train. Raises ValueError in one sentence.

        Where it raises, nothing is left running. `run_name` is what Ray's metrics of runners and learners
        are tagged with; without it, the algorithm and the environment.
        """
        from outrider.algorithm.algorithm import Algorithm
        from outrider.algorithm.assembly.assembly import assemble

        return Algorithm(assemble(self.settings, run_name=run_name))

    def build_to_evaluate(self) -> Algorithm:
        """Make what plays evaluations and nothing that trains: no runner, no learner, no Ray."""
        from outrider.algorithm.algorithm import Algorithm
        from outrider.algorithm.assembly.assembly import assemble_to_evaluate

        return Algorithm(assemble_to_evaluate(self.settings))
