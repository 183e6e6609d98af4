"""Steps environments and records fragments, without torch and without Ray."""

from outrider.envrunner.agents.agents_error import AgentsError, ForgottenEndError
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.agents.multi_agent_vector import (
    AgentGroup,
    LastObservations,
    MultiAgentStep,
    MultiAgentVector,
)
from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.environments.restarts import EnvironmentsFailedError
from outrider.envrunner.environments.vector_environment import make_vector_environment
from outrider.envrunner.fleet.async_fleet import AsyncRunnerFleet
from outrider.envrunner.fleet.fleet import RunnerFleet
from outrider.envrunner.fleet.pool import (
    AsyncRunnerPool,
    LocalRunnerPool,
    PoolStatistics,
    RunnerPool,
    WaitInterruptedError,
)
from outrider.envrunner.fleet.roster import RunnersLostError
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.policies.acting_policy import ActingPolicy
from outrider.envrunner.policies.action_sampler import ActionSampler
from outrider.envrunner.policies.onnx_policy import OnnxPolicy
from outrider.envrunner.policies.torch_policy import TorchPolicy
from outrider.envrunner.sampling.runner import EnvRunner
from outrider.envrunner.settings import EnvRunnerSettings

__all__ = [
    "ActingPolicy",
    "ActionSampler",
    "AgentGroup",
    "AgentsError",
    "AsyncRunnerFleet",
    "AsyncRunnerPool",
    "EnvRunner",
    "EnvRunnerSettings",
    "EnvironmentSettings",
    "EnvironmentsFailedError",
    "ForgottenEndError",
    "LastObservations",
    "LocalRunnerPool",
    "MultiAgentStep",
    "MultiAgentVector",
    "OnnxPolicy",
    "PoolStatistics",
    "RunnerFleet",
    "RunnerPlan",
    "RunnerPool",
    "RunnersLostError",
    "TorchPolicy",
    "WaitInterruptedError",
    "make_multi_agent_vector",
    "make_vector_environment",
]
