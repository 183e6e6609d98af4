"""Compares the fragments that a runner of several agents records with what happened, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.agent_script import Script
from outrider.testing.story_policies import STORY_POLICIES, StoryMapping, StoryStack, story_weights
from outrider.testing.story_rows import Happenings, Transition, live_through
from outrider.wire import Fragment, all_parts
from outrider.wire.fragment_checks import check_fragment

FIRST_ENVIRONMENT = 10


class SeedsSeen:
    """A `MultiAgentVector` around another one that remembers the seeds it was reset with."""

    def __init__(self, vector: MultiAgentVector) -> None:
        """Wrap it."""
        self._vector = vector
        self.num_envs, self.agents, self.groups = vector.num_envs, vector.agents, vector.groups
        self.state_space = vector.state_space
        self.seeds: list[int] = []

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Remember them."""
        assert not self.seeds, "a runner resets once"
        self.seeds = list(seeds)
        return self._vector.reset(seeds)

    def step(self, actions: Any) -> MultiAgentStep:  # noqa: ANN401 - as the vector's
        """Step it."""
        return self._vector.step(actions)

    def close(self) -> None:
        """Close it."""
        self._vector.close()


def story_runner(vector: MultiAgentVector, *, num_steps: int, explore: bool = False) -> MultiAgentRunner:
    """Make a runner with all policies of stories."""
    teams = dict.fromkeys(agent.partition("_")[0] for agent in vector.agents)
    return MultiAgentRunner(
        vector,
        [StoryStack(team) for team in teams],
        StoryMapping(vector.agents),
        [policy for policy in STORY_POLICIES if policy.stack in teams],
        num_steps=num_steps,
        seed=7,
        first_environment=FIRST_ENVIRONMENT,
        settings=EnvRunnerSettings(explore=explore, record_action_parameters=True),
        has_central_critic=vector.state_space is not None,
    )


def sample_story(runner: MultiAgentRunner, *, num_fragments: int) -> list[Fragment]:
    """Sample with another version of the weights each time."""
    fragments = []
    for version in range(num_fragments):
        runner.set_weights(story_weights(version))
        fragments.append(runner.sample())
    return fragments


def assert_recorded(
    make: Callable[[], MultiAgentVector], scripts: Sequence[Script], *, num_steps: int, num_fragments: int
) -> None:
    """Sample fragments of `num_steps` steps, and compare all that they hold with what happened."""
    vector = SeedsSeen(make())
    with closing(story_runner(vector, num_steps=num_steps)) as runner:
        fragments = sample_story(runner, num_fragments=num_fragments)
    happened = [
        live_through(
            scripts,
            seed=seed,
            environment=FIRST_ENVIRONMENT + copy,
            num_steps=num_steps * num_fragments,
            steps_of_a_version=num_steps,
        )
        for copy, seed in enumerate(vector.seeds)
    ]
    for number, fragment in enumerate(fragments):
        assert_fragment(fragment, happened, vector, range(number * num_steps, (number + 1) * num_steps))


def assert_fragment(
    fragment: Fragment, happened: Sequence[Happenings], vector: MultiAgentVector, steps: range
) -> None:
    """Compare one fragment with what was finished in its steps."""
    expected: dict[tuple[int, int, int], list[Transition]] = {}
    for copy, one in enumerate(happened):
        for row in one.transitions:
            if row.finished in steps:
                slot = list(vector.agents).index(row.agent)
                expected.setdefault((row.policy, FIRST_ENVIRONMENT + copy, slot), []).append(row)
    has_state = vector.state_space is not None
    for index, part in enumerate(all_parts(fragment)):
        check_fragment(part)
        assert part.num_rows or not index, "only the first part may be empty"
        assert (np.diff(part.streams.policy) >= 0).all(), "rows of a policy lie together"
        _assert_part(part, expected, has_state=has_state)
    assert not expected, "these rows are missing"
    _assert_episodes(fragment, happened, vector, steps)


def _assert_part(
    part: Fragment, expected: dict[tuple[int, int, int], list[Transition]], *, has_state: bool
) -> None:
    streams, start = part.streams, 0
    following = dict(zip(part.next_rows.tolist(), range(len(part.next_rows)), strict=True))
    for stream, length in enumerate(streams.lengths.tolist()):
        assert length, "no stream is empty"
        key = (int(streams.policy[stream]), int(streams.environment[stream]), int(streams.agent[stream]))
        rows = expected[key]
        taken, expected[key] = rows[:length], rows[length:]
        assert len(taken) == length, f"more rows of {key} than there were"
        if not expected[key]:
            del expected[key]
        assert streams.state["count"][stream] == taken[0].count
        for place, row in enumerate(taken, start):
            is_last = place == start + length - 1
            _assert_row(part, place, row, has_state=has_state)
            if row.terminated or not (row.truncated or is_last):
                assert place not in following
                if not row.terminated:
                    assert _at(part.observations, place + 1) == row.following
                continue
            at = following.pop(place)
            assert _at(part.next_observations, at) == row.following
            if has_state:
                assert part.next_critic_rows is not None
                state = part.critic_states[""][part.next_critic_rows[at]]
                assert state.tolist() == row.following_state
        start += length
    assert not following


def _assert_row(part: Fragment, place: int, row: Transition, *, has_state: bool) -> None:
    assert _at(part.observations, place) == row.observation
    assert np.reshape(part.actions[""][place], -1).tolist() == row.action
    assert part.rewards[place] == row.reward, row
    assert bool(part.terminated[place]) is row.terminated
    assert bool(part.truncated[place]) is row.truncated
    assert np.broadcast_to(part.policy_version, part.num_rows)[place] == row.version
    assert part.action_parameters is not None
    assert np.count_nonzero(part.action_parameters[place]) == len(row.action)
    if has_state:
        assert part.critic_rows is not None
        assert part.critic_states[""][part.critic_rows[place]].tolist() == row.state


def _assert_episodes(
    fragment: Fragment, happened: Sequence[Happenings], vector: MultiAgentVector, steps: range
) -> None:
    found = []
    for part in all_parts(fragment):
        agents = part.episodes.agents
        assert agents is not None
        names = [vector.agents[slot] for slot in agents.agent]
        found += list(zip(agents.policy, names, agents.returns, agents.lengths, strict=True))
    ended = [each for one in happened for each in one.agents if each.finished in steps]
    assert sorted(found) == sorted((each.policy, each.agent, each.total, each.length) for each in ended)
    episodes = fragment.episodes
    over = [
        (step, copy, total, length)
        for copy, one in enumerate(happened)
        for step, total, length in one.environments
        if step in steps
    ]
    assert list(zip(episodes.returns, episodes.lengths, strict=True)) == [each[2:] for each in sorted(over)]


def _at(columns: Any, place: int) -> dict[str, list[float]]:  # noqa: ANN401 - columns
    return {path: column[place].tolist() for path, column in columns.items()}
