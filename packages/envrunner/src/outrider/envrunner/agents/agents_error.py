"""What no new copy of an environment would do better: mistakes in how it tells of its agents."""

from __future__ import annotations


class AgentsError(ValueError):
    """Raised where an environment breaks a rule; it is not rebuilt, as it would break it again."""


class ForgottenEndError(AgentsError):
    """Raised where an agent that took part is gone and was neither terminated nor truncated."""

    def __init__(self, agent: str, environment: int) -> None:
        """Name the agent and the environment copy."""
        super().__init__(
            f"agent {agent!r} vanished from environment copy {environment} in the middle of its episode, "
            "without being terminated or truncated; flag it in the step in which it leaves"
        )
        self.agent = agent
        self.environment = environment

    def __reduce__(self) -> tuple[type[ForgottenEndError], tuple[str, int]]:
        """Travel between processes."""
        return type(self), (self.agent, self.environment)
