"""What runners elsewhere are made of, as a message of plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.policies.acting_policy import ActingPolicy
from outrider.envrunner.policies.onnx_policy import OnnxPolicy
from outrider.envrunner.policies.torch_policy import TorchPolicy, TorchRecipe, recipe_from_message
from outrider.envrunner.sampling.runner import EnvRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import (
    ActionHead,
    PolicyGraph,
    Space,
    decode_policy_graph,
    decode_settings,
    encode_policy_graph,
    encode_settings,
)

OBEYED_BY_RUNNERS = (
    "num_envs_per_env_runner",
    "gym_env_vectorize_mode",
    "explore",
    "record_action_parameters",
    "max_env_restarts",
    "env_step_timeout_s",
    "max_policies_per_env_runner",
)
"""The rest is for whoever starts runners; a runner of another release need not know it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnerPlan:
    """Arguments of all the runners of a run; equal plans make equal runners, wherever they are.

    As a message it holds str, int, float, bool, None, bytes, lists and dictionaries of them:

        {"environment": {"env": "CartPole-v1"}, "settings": {"num_envs_per_env_runner": 8},
         "num_steps": 128, "seed": 0, "policy_graph": b"..."}
    """

    environment: EnvironmentSettings
    settings: EnvRunnerSettings
    policy: PolicyGraph | TorchRecipe
    """How runners act; a recipe where the policy cannot be exported, which needs torch where they are."""
    num_steps: int
    """Vector steps of one fragment."""
    seed: int
    """Seed of the run."""
    first_runner: int = 0
    """Number within the run of the runner that `make_runner` knows as 0, where others are made elsewhere."""

    @property
    def is_exported(self) -> bool:
        """Whether the policy acts without torch."""
        return isinstance(self.policy, PolicyGraph)

    @property
    def num_rows(self) -> int:
        """Rows that one runner is asked for at a time."""
        return self.num_steps * self.settings.num_envs_per_env_runner

    def make_runner(self, index: int, incarnation: int) -> EnvRunner:
        """Make the runner number `index` of this plan, which was made `incarnation` times before in the run.

        Blocks while its environments are made. Raises ValueError where they cannot be made.
        """
        policy, observation_space, action_heads = self._acting()
        return EnvRunner(
            self.environment,
            self.settings,
            policy,
            observation_space=observation_space,
            action_heads=action_heads,
            num_steps=self.num_steps,
            seed=self.seed,
            first_environment=(self.first_runner + index) * self.settings.num_envs_per_env_runner,
            incarnation=incarnation,
        )

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values, without the settings that only whoever starts runners obeys.

        Raises ValueError for an environment given as a callable unless `dump` pickles it.
        """
        settings = EnvRunnerSettings(**{name: getattr(self.settings, name) for name in OBEYED_BY_RUNNERS})
        message: dict[str, Any] = {
            "environment": encode_settings(self.environment, dump=dump),
            "settings": encode_settings(settings),
            "num_steps": self.num_steps,
            "seed": self.seed,
        }
        if self.first_runner:
            message["first_runner"] = self.first_runner
        if isinstance(self.policy, PolicyGraph):
            message["policy_graph"] = encode_policy_graph(self.policy).to_bytes()
        else:
            message["policy_recipe"] = self.policy.to_message(dump)
        return message

    @staticmethod
    def from_message(message: Mapping[str, Any], load: Callable[[bytes], Any] | None = None) -> RunnerPlan:
        """Read what `to_message` returned, maybe of another release.

        Raises ValueError for settings that are not known here, and for pickles unless `load` is given.
        """
        graph = message.get("policy_graph")
        return RunnerPlan(
            environment=decode_settings(EnvironmentSettings, message["environment"], load=load),
            settings=decode_settings(EnvRunnerSettings, message["settings"]),
            policy=(
                recipe_from_message(message["policy_recipe"], load)
                if graph is None
                else decode_policy_graph(graph)
            ),
            num_steps=message["num_steps"],
            seed=message["seed"],
            first_runner=message.get("first_runner", 0),
        )

    def _acting(self) -> tuple[ActingPolicy, Space, tuple[ActionHead, ...]]:
        if isinstance(self.policy, PolicyGraph):
            graph = self.policy
            return OnnxPolicy(graph), graph.observation_space, graph.action_heads
        module = self.policy.build()
        return TorchPolicy(module), module.observation_space, module.action_heads
