"""Steps a vector environment with a policy and records fragments."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from outrider.envrunner.environments.autoreset import autoreset_mode, final_observations
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.ends import FAILED
from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.environments.environment_state import (
    restore_environment_state,
    save_environment_state,
)
from outrider.envrunner.environments.running_vector import Flags, RunningVector
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium
from outrider.envrunner.policies.acting_policy import ActingPolicy
from outrider.envrunner.policies.action_sampler import ActionSampler
from outrider.envrunner.sampling.episode_returns import EpisodeReturns
from outrider.envrunner.sampling.fragment_buffer import FragmentBuffer, FragmentLayout, Indices
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import (
    ActionHead,
    Columns,
    Fragment,
    SamplingStatistics,
    Space,
    Streams,
    Weights,
    leaf_dtype,
    leaf_shape,
    leaves,
)

_LOGGER = logging.getLogger("outrider.envrunner")


class EnvRunner:
    """Samples with its own environment copies; one thread, no torch.

    Copies have the numbers `first_environment`, `first_environment` + 1, ... over all runners of a run;
    seeds derive from `seed`, these numbers and `incarnation` alone, and the same ones give the same
    fragments.
    """

    def __init__(
        self,
        environment: EnvironmentSettings,
        settings: EnvRunnerSettings,
        policy: ActingPolicy,
        *,
        observation_space: Space,
        action_heads: tuple[ActionHead, ...],
        num_steps: int,
        seed: int,
        first_environment: int = 0,
        incarnation: int = 0,
        vector: gym.vector.VectorEnv[Any, Any, Any] | None = None,
    ) -> None:
        """Make the environments; a fragment will have `num_steps` vector steps.

        `incarnation` says how often this runner was made before in the run: later ones play other
        episodes and draw other actions. A `vector` environment that is given is stepped as it is, and
        cannot be made anew (`RunningVector`).

        Raises ValueError where the environment cannot be made or is not what the policy was made for.
        """
        self._environment_name = environment.name
        self._settings = settings
        self._policy = policy
        self._first = first_environment
        self._num_envs = settings.num_envs_per_env_runner
        self._layout = FragmentLayout(
            num_envs=self._num_envs,
            num_steps=num_steps,
            observation_space=observation_space,
            action_heads=action_heads,
        )
        self._running = RunningVector(
            environment,
            settings,
            seed=seed,
            first_environment=first_environment,
            incarnation=incarnation,
            given=vector,
        )
        vector = self._running.vector
        _require_same_leaves(space_from_gymnasium(vector.single_observation_space), observation_space)
        self._read = column_reader(observation_space)
        noise = (first_environment, 0, 1, *((incarnation,) if incarnation else ()))
        self._sampler = ActionSampler(
            action_heads,
            vector.single_action_space,
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=noise)),
        )
        self._mode = autoreset_mode(vector)
        self._state = {
            name: np.zeros((self._num_envs, *spec.shape), spec.dtype)
            for name, spec in policy.state_spec.items()
        }
        self._episodes = EpisodeReturns(self._num_envs)
        self._resetting: NDArray[np.bool_] | None = None
        self._observations: Columns | None = None
        self._version: int | None = None
        self._num_lost_rows = 0

    @property
    def version(self) -> int | None:
        """Version of the weights that act; None before the first."""
        return self._version

    def set_weights(self, weights: Weights) -> None:
        """Act with new weights from the next fragment on; a version not newer than the present is skipped.

        Raises ValueError where the weights fit another module.
        """
        if self._version is not None and weights.version <= self._version:
            return
        self._policy.set_weights(weights)
        self._version = weights.version

    def sample(self, *, explore: bool | None = None) -> Fragment:
        """Step every environment `num_steps` times and return what happened.

        `explore` overrides the setting. The fragment belongs to the caller. Raises
        EnvironmentsFailedError where an environment fails again and again.
        """
        if self._version is None:
            raise RuntimeError("the runner has no weights yet; call set_weights before sample")
        start = perf_counter()
        observations = self._reset() if self._observations is None else self._observations
        self._observations = None  # an error or Ctrl-C within the fragment means new episodes
        stream_state = {name: column.copy() for name, column in self._state.items()}
        buffer = FragmentBuffer(self._layout)
        explore = self._settings.explore if explore is None else explore
        environment_s, policy_s = self._collect(buffer, observations, explore=explore)
        return self._fragment(buffer, stream_state, start, environment_s, policy_s)

    def get_state(self) -> dict[str, Any]:
        """Return a tree of what the next fragment depends on, weights excepted.

        It holds the environments' own state where they can tell it (see `environment_state`).
        """
        environment = None if self._observations is None else save_environment_state(self._running.vector)
        return {
            "sampler": self._sampler.get_state(),
            "incarnation": self._running.incarnation,
            "num_seedings": self._running.num_seedings,
            "environment": environment,
            "observations": _copies(self._observations or {}),
            "recurrent_state": _copies(self._state),
            "resetting": None if self._resetting is None else self._resetting.copy(),
            "episodes": self._episodes.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned in a runner made with the same arguments.

        Weights have to be set again, of whatever version. Where the environments' state is missing,
        their episodes start afresh, and the log says so.
        """
        self._version = None
        self._sampler.set_state(state["sampler"])
        self._running.incarnation = state["incarnation"]
        self._running.num_seedings = state["num_seedings"]
        self._observations = None
        if state["environment"] is None:
            if state["num_seedings"]:  # otherwise nothing had started yet
                _LOGGER.warning(
                    "the state of %s could not be saved: its episodes start afresh after resuming",
                    self._environment_name,
                )
            return
        self._running.start_episodes()  # what was never reset may refuse to step
        self._running.num_seedings = state["num_seedings"]
        restore_environment_state(self._running.vector, state["environment"])
        self._observations = _copies(state["observations"])
        for name, column in self._state.items():
            column[...] = state["recurrent_state"][name]
        self._resetting = None if state["resetting"] is None else np.array(state["resetting"], np.bool_)
        self._episodes.set_state(state["episodes"])

    def close(self) -> None:
        """Close the environments."""
        close_all(self._running.vector)

    def _collect(
        self, buffer: FragmentBuffer, observations: Columns, *, explore: bool
    ) -> tuple[float, float]:
        """Fill the buffer. This is the loop that the sampling speed depends on."""
        act, to_environment, read, state = (
            self._policy.act,
            self._sampler.to_environment,
            self._read,
            self._state,
        )
        step_environments = self._running.step
        choose = self._sampler.sample if explore else self._sampler.most_likely
        self._sampler.draw_noise(self._layout.num_steps, self._num_envs)
        slots = buffer.by_step()
        environment_s = policy_s = 0.0
        for step in range(self._layout.num_steps):
            started = perf_counter()
            parameters, next_state = act(observations, state)
            actions = choose(parameters)
            environment_actions = to_environment(actions)
            acted = perf_counter()
            slots.parameters[step] = parameters
            for path, column in observations.items():
                slots.observations[path][step] = column
            for path, column in actions.items():
                slots.actions[path][step] = column
            stepping = perf_counter()
            value, rewards, terminated, truncated, infos = step_environments(environment_actions)
            stepped = perf_counter()
            policy_s += acted - started
            environment_s += stepped - stepping
            observations = read(value)
            slots.rewards[step] = rewards
            slots.terminated[step] = terminated
            slots.truncated[step] = truncated
            for name, column in next_state.items():
                state[name][...] = column
            if self._resetting is not None or np.count_nonzero(terminated) or np.count_nonzero(truncated):
                observations = self._after_ends(buffer, step, observations, terminated, truncated, infos)
        self._observations = observations
        return environment_s, policy_s

    def _after_ends(
        self,
        buffer: FragmentBuffer,
        step: int,
        observations: Columns,
        terminated: Flags,
        truncated: Flags,
        infos: dict[str, Any],
    ) -> Columns:
        """Note what followed the episodes that ended, and return what the policy sees next."""
        terminated, truncated = np.asarray(terminated, np.bool_), np.asarray(truncated, np.bool_)
        done = terminated | truncated
        failed = infos.get(FAILED)
        no_row, self._resetting = self._resetting, None
        if failed is not None:
            self._lose(buffer, step, failed)
            no_row = failed if no_row is None else failed | no_row
        if no_row is not None:
            buffer.drop(step, no_row)
            done = done & ~no_row
        if np.count_nonzero(truncated):
            self._keep_what_followed(buffer, step, np.flatnonzero(done & ~terminated), observations, infos)
        starts = no_row
        if self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = done if np.count_nonzero(done) else None
        else:
            starts = done if no_row is None else done | no_row
            if self._mode is AutoresetMode.DISABLED and np.count_nonzero(done):
                value, all_are_new = self._running.reset_some(done)
                if all_are_new:
                    buffer.cut(step, np.flatnonzero(~starts), observations)
                    starts = np.ones_like(done)
                observations = self._read(value)
        if starts is not None:
            for column in self._state.values():
                column[starts] = 0
        self._running.restarts.forgive(done)
        return observations

    def _keep_what_followed(
        self, buffer: FragmentBuffer, step: int, cut: Indices, observations: Columns, infos: dict[str, Any]
    ) -> None:
        """Keep the observations that really followed the last rows of truncated episodes."""
        if not len(cut):
            return
        if self._mode is AutoresetMode.SAME_STEP:
            followed = final_observations(infos, cut, self._read)
        else:
            followed = {path: column[cut] for path, column in observations.items()}
        buffer.follow(step, cut, followed)

    def _lose(self, buffer: FragmentBuffer, step: int, failed: Flags) -> None:
        """Drop the slots in which environments failed, and cut their episodes at the row before."""
        buffer.drop(step, failed)
        for environment in np.flatnonzero(failed).tolist():
            self._num_lost_rows += 1
            if step == 0:
                self._episodes.forget(environment)
            else:
                buffer.cut_before(step, environment)

    def _fragment(
        self,
        buffer: FragmentBuffer,
        stream_state: Mapping[str, NDArray[Any]],
        start: float,
        environment_s: float,
        policy_s: float,
    ) -> Fragment:
        assert self._observations is not None
        is_row, rows = buffer.is_row, buffer.rows
        next_rows, next_observations = buffer.next_rows(self._observations)
        lengths = is_row.sum(1)
        streams = np.flatnonzero(lengths)
        for column in stream_state.values():
            column[~is_row[:, 0]] = 0  # a stream that starts after a reset starts an episode
        episodes = self._episodes.add(
            buffer.rewards, buffer.terminated | buffer.truncated, is_row, buffer.cut_slots
        )
        lost_rows, self._num_lost_rows = self._num_lost_rows, 0
        restarts, self._running.restarts.num_restarts = self._running.restarts.num_restarts, 0
        return Fragment(
            streams=Streams(
                lengths=lengths[streams],
                policy=np.zeros(len(streams), np.int32),
                environment=(self._first + streams).astype(np.int32),
                agent=np.zeros(len(streams), np.int32),
                state={name: column[streams] for name, column in stream_state.items()},
            ),
            observations={path: rows(slots) for path, slots in buffer.observations.items()},
            actions={path: rows(slots) for path, slots in buffer.actions.items()},
            rewards=rows(buffer.rewards),
            terminated=rows(buffer.terminated),
            truncated=rows(buffer.truncated),
            next_rows=next_rows,
            next_observations=next_observations,
            action_log_probs=rows(self._sampler.log_probs(buffer.parameters, buffer.actions)),
            action_parameters=rows(buffer.parameters) if self._settings.record_action_parameters else None,
            policy_version=np.array([self._version], np.int64),
            episodes=episodes,
            statistics=SamplingStatistics(
                environment_s=environment_s,
                policy_s=policy_s,
                total_s=perf_counter() - start,
                num_lost_rows=lost_rows,
                num_restarts=restarts,
            ),
        )

    def _reset(self) -> Columns:
        """Start an episode in every environment."""
        for column in self._state.values():
            column[...] = 0
        for environment in range(self._num_envs):
            self._episodes.forget(environment)
        self._resetting = None
        return self._read(self._running.start_episodes())


def _copies(columns: Columns) -> dict[str, NDArray[Any]]:
    return {name: np.array(column) for name, column in columns.items()}


def _require_same_leaves(offered: Space, expected: Space) -> None:
    """Refuse an environment whose observations the policy was not made for."""
    offered_shapes = {path: (leaf_shape(leaf), leaf_dtype(leaf)) for path, leaf in leaves(offered).items()}
    expected_shapes = {path: (leaf_shape(leaf), leaf_dtype(leaf)) for path, leaf in leaves(expected).items()}
    if offered_shapes != expected_shapes:
        raise ValueError(
            f"the environment shows {offered_shapes}, the policy was made for {expected_shapes}; make the "
            "policy from this environment's spaces, in the same vectorize mode"
        )
