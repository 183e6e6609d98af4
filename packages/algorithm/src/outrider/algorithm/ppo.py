"""PPO: its configuration, and how it is put together."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Self

from outrider.algorithm.config import AlgorithmConfig
from outrider.algorithm.resources import check_resources
from outrider.algorithm.run_settings import RunSettings
from outrider.algorithm.section import Section
from outrider.learner import PPOSettings

if TYPE_CHECKING:
    from outrider.algorithm.algorithm import Algorithm


@dataclass(frozen=True, kw_only=True, slots=True)
class PPORunSettings(RunSettings):
    """All settings of a run of PPO."""

    training: PPOSettings = field(default_factory=PPOSettings)


class PPOConfig(AlgorithmConfig):
    """Configures proximal policy optimisation (Schulman et al. 2017).

    algo = PPOConfig().environment("CartPole-v1").training(lr=3e-4).build()
    """

    settings_class: ClassVar[type[PPORunSettings]] = PPORunSettings
    training = Section(PPOSettings)

    @classmethod
    def from_settings(cls, settings: PPORunSettings) -> Self:
        """Return a configuration that has these settings."""
        config = cls()
        for section in fields(settings):
            getattr(cls, section.name).put(config, getattr(settings, section.name))
        return config

    @property
    def settings(self) -> PPORunSettings:
        """The settings as they now stand. Raises ValueError where there is no environment yet."""
        return PPORunSettings(
            environment=PPOConfig.environment.of(self),
            env_runners=PPOConfig.env_runners.of(self),
            learners=PPOConfig.learners.of(self),
            training=PPOConfig.training.of(self),
            rl_module=PPOConfig.rl_module.of(self),
            evaluation=PPOConfig.evaluation.of(self),
            stopping=PPOConfig.stopping.of(self),
            checkpointing=PPOConfig.checkpointing.of(self),
            debugging=PPOConfig.debugging.of(self),
        )

    def build(self) -> Algorithm:
        """Make environments, policy and learner, ready to train. Raises ValueError in one sentence."""
        check_resources(self.settings)

        from outrider.algorithm import assembly
        from outrider.algorithm.algorithm import Algorithm
        from outrider.learner import LocalLearnerGroup, PPOLearner, choose_device

        settings, seed = assembly.with_seed(self.settings)
        device = choose_device(settings.learners)
        assembly.use_threads(settings)
        policy = assembly.make_policy(settings, seed)
        acting = assembly.acting_policies(policy)
        batch_size = settings.training.train_batch_size_per_learner
        return Algorithm(
            "ppo",
            settings,
            runners=assembly.make_runners(settings, acting, policy, train_batch_size=batch_size, seed=seed),
            learners=LocalLearnerGroup(PPOLearner(policy, settings.training, seed=seed, device=device)),
            policy=policy,
            evaluator=assembly.make_evaluator(settings, acting, policy),
            reward_threshold=assembly.reward_threshold(settings.environment.env),
        )
