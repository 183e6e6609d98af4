"""Steps environments and records fragments, without torch and without Ray."""

from outrider.envrunner.acting_policy import ActingPolicy
from outrider.envrunner.action_sampler import ActionSampler
from outrider.envrunner.agents_error import AgentsError, ForgottenEndError
from outrider.envrunner.async_fleet import AsyncRunnerFleet
from outrider.envrunner.environment import EnvironmentSettings
from outrider.envrunner.fleet import RunnerFleet
from outrider.envrunner.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.multi_agent_vector import (
    AgentGroup,
    LastObservations,
    MultiAgentStep,
    MultiAgentVector,
)
from outrider.envrunner.onnx_policy import OnnxPolicy
from outrider.envrunner.pool import (
    AsyncRunnerPool,
    LocalRunnerPool,
    PoolStatistics,
    RunnerPool,
    WaitInterruptedError,
)
from outrider.envrunner.restarts import EnvironmentsFailedError
from outrider.envrunner.roster import RunnersLostError
from outrider.envrunner.runner import EnvRunner
from outrider.envrunner.runner_plan import RunnerPlan
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.envrunner.torch_policy import TorchPolicy
from outrider.envrunner.vector_environment import make_vector_environment

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
