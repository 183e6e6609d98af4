"""Says whose end an environment with several agents did not tell as it must, and which policy acted."""

from __future__ import annotations

from collections.abc import Sequence

from outrider.envrunner.agents.agents_error import AgentsError, ForgottenEndError
from outrider.envrunner.policies.agent_policies import AgentPolicies
from outrider.envrunner.policies.policy_fit import PolicyFit
from outrider.envrunner.sampling.fragment_rows import FragmentRows
from outrider.envrunner.sampling.stream_log import StreamLog

_FORGOTTEN = (
    "agent {agent!r} took part when the episode of environment copy {copy} was over, and was neither "
    "terminated nor truncated; flag all who take part in a step that is over"
)
_UNSEEN = (
    "agent {agent!r} was truncated in environment copy {copy}, and last does not say what it observed; name "
    "its copy and its place in its group there, with what it saw in that step"
)


def require_ends(found: FragmentRows, streams: StreamLog, agents: Sequence[str], fit: PolicyFit) -> None:
    """Raise AgentsError where an end is missing, or what was seen then; only native environments do so."""
    rows, unseen = found.rows, found.unseen()
    if len(rows.forgotten):
        row, what = int(rows.forgotten[0]), _FORGOTTEN
    elif len(unseen):
        row, what = int(unseen[0]), _UNSEEN
    else:
        return
    number = int(streams.policy[streams.of(rows.slots, rows.steps)[row]])
    copy, agent = divmod(int(rows.slots[row]), len(agents))
    said = what.format(agent=agents[agent], copy=copy)
    raise AgentsError(f"{said}; policy {fit.name(number)!r} acted for it")


def with_policy(error: ForgottenEndError, agents: Sequence[str], policies: AgentPolicies) -> AgentsError:
    """Name the policy that acted for an agent whose end the environment forgot."""
    slot = error.environment * len(agents) + list(agents).index(error.agent)
    return AgentsError(f"{error}; policy {policies.fit.name(int(policies.policy_S[slot]))!r} acted for it")
