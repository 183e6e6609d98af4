from __future__ import annotations

from outrider.algorithm.cluster.demand import Bundles, Demand, demand_of
from outrider.algorithm.cluster.placement import MACHINE, Node, what_is_missing
from outrider.envrunner import EnvRunnerSettings
from outrider.learner import LearnerGroupSettings


def demand(runners: dict | None = None, learners: dict | None = None) -> Demand:
    learner_settings = LearnerGroupSettings(**(learners or {}))
    return demand_of(
        EnvRunnerSettings(**(runners or {})), learner_settings, num_learners=learner_settings.num_learners
    )


def node(available: dict[str, float] | None = None, **total: float) -> Node:
    return Node(total=total, available=total if available is None else available)


TWO_GPU_LEARNERS = demand(learners={"num_learners": 2, "num_gpus_per_learner": 1})
MIXED = demand({"num_env_runners": 10}, {"num_learners": 2, "num_gpus_per_learner": 1})


def test_nothing_is_missing_where_all_fits() -> None:
    assert what_is_missing(MIXED, [node(CPU=6, GPU=1), node(CPU=6, GPU=1)], "PACK") is None


def test_a_run_in_this_process_asks_for_nothing() -> None:
    assert what_is_missing(demand(), [], "STRICT_SPREAD") is None


def test_what_a_cluster_does_not_have_is_said_with_who_asks_and_what_to_do() -> None:
    assert what_is_missing(TWO_GPU_LEARNERS, [node(CPU=8)], "PACK") == (
        "asked for 2 GPUs (2 learners with num_gpus_per_learner=1), the cluster has 0; set "
        "num_gpus_per_learner=0 or add a node"
    )


def test_who_asks_are_all_who_ask() -> None:
    assert what_is_missing(MIXED, [node(CPU=4, GPU=2)], "PACK") == (
        "asked for 12 CPUs (10 env runners with num_cpus_per_env_runner=1 and 2 learners with "
        "num_cpus_per_learner=1), the cluster has 4; lower num_env_runners or num_learners or add a node"
    )


def test_what_others_use_is_told_apart() -> None:
    nodes = [node({"CPU": 8, "GPU": 1}, CPU=8, GPU=4)]
    assert what_is_missing(TWO_GPU_LEARNERS, nodes, "PACK") == (
        "asked for 2 GPUs (2 learners with num_gpus_per_learner=1), the cluster has 4 and others use 3 of "
        "them; wait for them with wait_for_resources_s or lower num_learners"
    )


def test_custom_resources_are_named() -> None:
    asked = demand({"num_env_runners": 2, "custom_resources_per_env_runner": {"simulator": 1}})
    assert what_is_missing(asked, [node(CPU=8)], "PACK", where=MACHINE) == (
        "asked for 2 of 'simulator' (2 env runners with custom_resources_per_env_runner={'simulator': 1}), "
        "this machine has 0; set custom_resources_per_env_runner={} or connect to a cluster with ray_address"
    )


def test_what_lies_on_several_nodes_is_not_together() -> None:
    assert what_is_missing(TWO_GPU_LEARNERS, [node(CPU=8), node(GPU=2)], "PACK") == (
        "no part of the cluster has 1 CPU and 1 GPU together, which one learner asks for "
        "(num_cpus_per_learner=1, num_gpus_per_learner=1); lower these settings or add a node"
    )


def test_leftovers_that_add_up_do_not_fit() -> None:
    asked = demand({"num_env_runners": 3, "num_cpus_per_env_runner": 2})
    assert what_is_missing(asked, [node(CPU=3), node(CPU=3)], "PACK") == (
        "3 env runners (6 CPUs) do not fit on the nodes of the cluster, which have 3 CPUs; 3 CPUs; lower "
        "num_env_runners or add a node"
    )


def test_leftovers_beside_others_do_not_fit() -> None:
    asked = demand({"num_env_runners": 2, "num_cpus_per_env_runner": 2})
    nodes = [node({"CPU": 3}, CPU=4), node({"CPU": 1}, CPU=4)]
    assert what_is_missing(asked, nodes, "PACK") == (
        "2 env runners (4 CPUs, placement_strategy='PACK') do not fit beside what others use on the "
        "cluster's nodes, which have 3 CPUs; 1 CPU left; wait with wait_for_resources_s or lower "
        "num_env_runners"
    )


def test_strict_packing_that_can_never_be_is_one_sentence() -> None:
    assert what_is_missing(MIXED, [node(CPU=6, GPU=1)] * 2, "STRICT_PACK") == (
        "placement_strategy='STRICT_PACK' puts 10 env runners and 2 learners on one node, and no node has 2 "
        "GPUs and 12 CPUs; set placement_strategy='PACK' or lower num_env_runners or num_learners"
    )


def test_strict_spreading_that_can_never_be_is_one_sentence() -> None:
    asked = demand({"num_env_runners": 3})
    assert what_is_missing(asked, [node(CPU=8)] * 2, "STRICT_SPREAD") == (
        "placement_strategy='STRICT_SPREAD' puts each of 3 env runners on a node of its own, and the cluster "
        "has 2 nodes that can hold one; set placement_strategy='SPREAD' or add a node"
    )


def test_ten_thousandths_do_not_matter() -> None:
    asked = demand({"num_env_runners": 10, "num_cpus_per_env_runner": 0.1})
    assert what_is_missing(asked, [node(CPU=1)], "PACK") is None


def test_processes_that_reserve_nothing_have_no_bundle() -> None:
    asked = demand({"num_env_runners": 4, "num_cpus_per_env_runner": 0})
    assert asked.groups == ()
    assert asked.num_processes == 4


def test_a_demand_without_a_resource_keeps_the_others() -> None:
    (learners,) = TWO_GPU_LEARNERS.without("CPU").groups
    assert learners.resources == {"GPU": 1.0}
    assert isinstance(learners, Bundles)
