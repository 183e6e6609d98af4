"""Makes the learners of an algorithm: one in this process, ranks on Ray, or those of a learner service."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from outrider.algorithm.assembly.auto_learners import choose_learners
from outrider.algorithm.assembly.farm_assembly import packed_as
from outrider.algorithm.assembly.runner_backend import with_backend
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.learner import LocalLearnerGroup, choose_device
from outrider.learner.algorithms import make_learner
from outrider.learner.groups.async_group import LocalAsyncLearnerGroup
from outrider.learner.plans.learner_plan import LearnerPlan
from outrider.learner.training.vtrace_settings import VTraceSettings
from outrider.rlmodule.ignored_settings import told_before

if TYPE_CHECKING:
    from outrider.algorithm.assembly.blueprint import Blueprint
    from outrider.learner import AsyncLearnerGroup, Learner, LearnerGroup, LearnerGroupSettings
    from outrider.rlmodule import Policy
    from outrider.transport.security import ClientSecurity

R = TypeVar("R", bound=RunSettings)

log = logging.getLogger(__name__)


def with_num_learners(settings: R) -> R:
    """Return settings in which "auto" has become a number, and say which.

    Raises ValueError where learners are asked for beside those of a learner service.
    """
    check_one_place(settings.learners)
    if settings.learners.num_learners != "auto":
        return settings
    import torch

    num_gpus_here = torch.cuda.device_count()
    learners, sentence = choose_learners(
        settings.learners,
        num_gpus=_num_gpus_left(settings, num_gpus_here),
        num_gpus_here=num_gpus_here,
        num_ray_env_runners=with_backend(settings).env_runners.num_ray_env_runners,
    )
    log.warning(sentence)
    return replace(settings, learners=learners)


def check_one_place(learners: LearnerGroupSettings) -> None:
    """Raise ValueError where learners are asked for beside those of a learner service."""
    address, num_learners = learners.learner_address, learners.num_learners
    if address is not None and num_learners:
        raise ValueError(
            f"num_learners={num_learners!r} asks for learners beside those at learner_address={address!r}; "
            "say how many there are where that is started (outrider-learner --num-learners), and leave "
            "num_learners out"
        )


def make_learners(blueprint: Blueprint) -> LearnerGroup:
    """Make learners that train when they are told to."""
    if (service := _service(blueprint)) is not None:
        from outrider.learner.service.service_learners import ServiceLearnerGroup

        address, security = service
        needs = packed_as(blueprint.settings.env_runners)
        return ServiceLearnerGroup(_plan(blueprint), address=address, security=security, needs=needs)
    if not blueprint.num_learners:
        return LocalLearnerGroup(_local_learner(blueprint, blueprint.policy))
    from outrider.learner.ray_groups.ray_learners import RayLearnerGroup

    assert blueprint.cluster is not None
    return RayLearnerGroup(
        _plan(blueprint),
        num_learners=blueprint.num_learners,
        options=blueprint.cluster.learner_options,
        run=blueprint.run_name,
    )


def make_async_learners(blueprint: Blueprint) -> AsyncLearnerGroup:
    """Make learners that train without pause on what they are given."""
    if (service := _service(blueprint)) is not None:
        from outrider.learner.service.service_async_learners import ServiceAsyncLearnerGroup

        address, security = service
        needs = packed_as(blueprint.settings.env_runners)
        return ServiceAsyncLearnerGroup(_plan(blueprint), address=address, security=security, needs=needs)
    training = blueprint.settings.training
    assert isinstance(training, VTraceSettings)
    num_learners = max(1, blueprint.num_learners)
    train_batch_size = training.train_batch_size_per_learner * num_learners
    if not blueprint.num_learners:
        # It trains while others read the policy of the blueprint, and so gets one of its own.
        with told_before():
            policy = blueprint.recipe.build()
        return LocalAsyncLearnerGroup(
            _local_learner(blueprint, policy),
            train_batch_size=train_batch_size,
            max_staleness=training.max_staleness,
            queue_capacity=training.learner_queue_size,
            timeout_s=blueprint.settings.learners.learner_timeout_s,
        )
    from outrider.learner.ray_groups.ray_async_learners import RayAsyncLearnerGroup

    assert blueprint.cluster is not None
    return RayAsyncLearnerGroup(
        _plan(blueprint),
        num_learners=blueprint.num_learners,
        options=blueprint.cluster.learner_options,
        train_batch_size=train_batch_size,
        max_staleness=training.max_staleness,
        queue_capacity=training.learner_queue_size,
        run=blueprint.run_name,
    )


def _service(blueprint: Blueprint) -> tuple[str, ClientSecurity] | None:
    """Return where the learner service is, and what to show it."""
    learners = blueprint.settings.learners
    if learners.learner_address is None:
        return None
    from outrider.learner.service.service_security import client_security

    return learners.learner_address, client_security(learners, os.environ)


def _local_learner(blueprint: Blueprint, policy: Policy) -> Learner:
    settings = blueprint.settings
    return make_learner(
        blueprint.settings.algorithm,
        policy,
        settings.training,
        seed=blueprint.seed,
        device=choose_device(settings.learners),
    )


def _plan(blueprint: Blueprint) -> LearnerPlan:
    return LearnerPlan(
        algorithm=blueprint.settings.algorithm,
        training=blueprint.settings.training,
        policy=blueprint.recipe,
        settings=blueprint.settings.learners,
        seed=blueprint.seed,
    )


def _num_gpus_left(settings: RunSettings, num_gpus_here: int) -> float:
    """Return how many GPUs learners may take: of the cluster, where there are runners on one."""
    runners = with_backend(settings).env_runners
    num_gpus: float = num_gpus_here
    if runners.num_ray_env_runners:
        from outrider.algorithm.cluster.ray_gpus import num_gpus_of_cluster

        num_gpus = num_gpus_of_cluster(settings.resources, num_gpus_here)
    reserved = runners.num_ray_env_runners * runners.num_gpus_per_env_runner
    return num_gpus if num_gpus <= 1 else max(1, num_gpus - reserved)
