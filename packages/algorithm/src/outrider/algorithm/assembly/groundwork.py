"""What a run needs whether it has one policy or several: a seed, threads, farms, a cluster, a loop."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from outrider.algorithm.assembly.farm_assembly import open_gateway
from outrider.algorithm.cluster.demand import demand_of
from outrider.algorithm.loops.asynchronous import AsynchronousLoop
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.learner import choose_device
from outrider.learner.training.vtrace_settings import VTraceSettings

if TYPE_CHECKING:
    from outrider.algorithm.cluster.ray_cluster import Cluster
    from outrider.envrunner import AsyncRunnerFleet, EnvRunnerSettings
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
    from outrider.envrunner.fleet.runner_plan import RunnerPlan
    from outrider.envrunner.gateway.gateway import Gateway
    from outrider.learner import AsyncLearnerGroup

R = TypeVar("R", bound=RunSettings)
SUM_GRACE_S = 10.0
"""A sum that waits for a rank which does not answer fails after `learner_timeout_s`; that is heard first."""


def with_seed(settings: R) -> tuple[R, int]:
    """Return settings that have a seed, and the seed: the given one, or a new one where there is none."""
    seed = settings.debugging.seed
    if seed is None:
        seed = secrets.randbits(32)
    return replace(settings, debugging=replace(settings.debugging, seed=seed)), seed


def use_threads(settings: RunSettings) -> None:
    """Let torch use the cores of this process's learner: one unless the settings say otherwise.

    More threads than a small network needs take the cores away from the environments: with two threads
    on two busy cores a peer fell to a fifth of its speed. Raises ValueError for a GPU that is not here.
    """
    import torch

    learners = settings.learners
    is_here = learners.num_learners == 0 and learners.learner_address is None
    if is_here:
        choose_device(learners)
    torch.set_num_threads(max(1, int(learners.num_cpus_per_learner)) if is_here else 1)


def let_farms_in(runners: EnvRunnerSettings, plan: RunnerPlan | MultiAgentPlan, parts: ExitStack) -> Gateway:
    """Let runners of farms in from now on."""
    gateway = parts.enter_context(closing(open_gateway(runners, plan)))
    gateway.is_last = False  # unless the algorithm comes to its end
    return gateway


def join_cluster(settings: RunSettings, parts: ExitStack) -> Cluster | None:
    """Reserve what actors need; without any, Ray is not even imported."""
    num_learners = settings.learners.num_learners
    assert num_learners != "auto"
    if not settings.env_runners.num_ray_env_runners and not num_learners:
        return None
    from outrider.algorithm.cluster.ray_cluster import connect

    demand = demand_of(settings.env_runners, settings.learners, num_learners=num_learners)
    return parts.enter_context(connect(settings.resources, demand))


def asynchronous_loop(
    settings: RunSettings, runners: AsyncRunnerFleet, learners: AsyncLearnerGroup
) -> AsynchronousLoop:
    """Let runners and learners work side by side."""
    training = settings.training
    assert isinstance(training, VTraceSettings)
    return AsynchronousLoop(
        runners,
        learners,
        min_time_s=training.min_time_s_per_iteration,
        patience_s=settings.learners.learner_timeout_s + SUM_GRACE_S,
    )


def reward_threshold(env: Any) -> float | None:  # noqa: ANN401 - an id or a function
    """Return the mean return from which a registered environment counts as solved, if it says so."""
    if not isinstance(env, str):
        return None
    from outrider.envrunner.environments.environment_id import find_callable, find_spec

    return find_spec(env).reward_threshold if find_callable(env) is None else None
