"""Puts fragments of several agents together. Axes: S = e * A + a, K = episodes that ended."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.policies.stack_actor import StackActor
from outrider.envrunner.sampling.episode_totals import EndedEpisodes
from outrider.envrunner.sampling.fragment_rows import FragmentRows
from outrider.envrunner.sampling.step_planes import StepPlanes
from outrider.envrunner.sampling.stream_log import StreamLog
from outrider.envrunner.sampling.stream_rows import StreamRows
from outrider.wire import AgentEpisodes, EpisodeStatistics, Fragment, SamplingStatistics, Streams


def agent_episodes(
    ended: EndedEpisodes,
    streams: StreamLog,
    planes: StepPlanes,
    num_episodes_E: NDArray[np.int64],
    first_environment: int,
) -> AgentEpisodes:
    """Say whose episodes ended: `num_episodes_E` had begun when the fragment began."""
    copies = ended.places // planes.num_agents
    started_TE = planes.started()
    begun_TE = num_episodes_E + np.cumsum(started_TE, 0) - started_TE
    return AgentEpisodes(
        policy=streams.policy[streams.of(ended.places, ended.steps)].astype(np.int32),
        agent=(ended.places % planes.num_agents).astype(np.int32),
        returns=ended.returns,
        lengths=ended.lengths.astype(np.int64),
        environment=(first_environment + copies).astype(np.int32),
        episode=(begun_TE[ended.steps, copies] - 1).astype(np.int64),
    )


def chosen_episodes(agents: AgentEpisodes, mask: NDArray[np.bool_]) -> AgentEpisodes:
    """Return some of the episodes [K]."""
    return AgentEpisodes(**{each.name: getattr(agents, each.name)[mask] for each in fields(AgentEpisodes)})


def joined(parts: list[Fragment], copies: EndedEpisodes, statistics: SamplingStatistics) -> Fragment:
    """Make one fragment of those of all stacks, with the episodes of copies."""
    return replace(
        parts[0],
        episodes=replace(parts[0].episodes, returns=copies.returns, lengths=copies.lengths.astype(np.int64)),
        statistics=statistics,
        others=tuple(part for part in parts[1:] if part.num_rows),
    )


def stack_fragment(
    actor: StackActor,
    found: FragmentRows,
    part: StreamRows,
    step: MultiAgentStep,
    agents: AgentEpisodes,
    *,
    version: int,
    first_environment: int,
    record_action_parameters: bool,
) -> Fragment:
    """Make the fragment of one stack, with the episodes of its agents; `step` is the last one."""
    columns, rows = actor.rows, found.rows
    places = found.places[part.rows]
    starts = np.cumsum(part.lengths) - part.lengths
    actions = {path: column.take(places, 0) for path, column in columns.actions.items()}
    parameters = columns.parameters.take(places, 0)
    versions = found.versions[part.rows]
    only = versions[:1] if len(versions) else np.array([version], np.int64)
    states = found.critic_states(part)
    copies, slots = np.divmod(part.slots, found.slots.num_agents)
    return Fragment(
        streams=Streams(
            lengths=part.lengths,
            policy=part.policy,
            environment=(first_environment + copies).astype(np.int32),
            agent=slots.astype(np.int32),
            state={name: column[places[starts]] for name, column in columns.state.items()},
        ),
        observations={path: column.take(places, 0) for path, column in columns.observations.items()},
        actions=actions,
        rewards=rows.rewards[part.rows],
        terminated=rows.terminated[part.rows],
        truncated=rows.truncated[part.rows],
        next_rows=part.next_rows.astype(np.int64),
        next_observations=found.next_observations(part, columns, step),
        action_log_probs=actor.sampler.log_probs(parameters, actions),
        action_parameters=parameters if record_action_parameters else None,
        policy_version=only if (versions == only).all() else versions,
        critic_states={} if states is None else {"": states[0]},
        critic_rows=None if states is None else states[1],
        next_critic_rows=None if states is None else states[2],
        episodes=EpisodeStatistics(
            returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64), agents=agents
        ),
    )
