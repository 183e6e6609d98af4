"""Steps environments and records fragments, without torch and without Ray."""

from outrider.envrunner.acting_policy import ActingPolicy
from outrider.envrunner.environment import EnvironmentSettings
from outrider.envrunner.onnx_policy import OnnxPolicy
from outrider.envrunner.restarts import EnvironmentsFailedError
from outrider.envrunner.runner import EnvRunner
from outrider.envrunner.settings import EnvRunnerSettings

__all__ = [
    "ActingPolicy",
    "EnvRunner",
    "EnvRunnerSettings",
    "EnvironmentSettings",
    "EnvironmentsFailedError",
    "OnnxPolicy",
]
