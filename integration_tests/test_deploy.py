"""The manifests in deploy/ are what Kubernetes reads, fit each other, and call commands as they are."""

from __future__ import annotations

import copy
import functools
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import kubernetes_validate
import pytest
import yaml

from outrider.algorithm.commands import train_command
from outrider.envrunner.farm import farm, farm_flags
from outrider.learner.service import learner_command
from outrider.transport.health import Health

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
RECIPES = sorted(DEPLOY.glob("*.Containerfile"))
RAY_JOB = {
    "entrypoint",
    "submissionMode",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "backoffLimit",
    "rayClusterSpec",
}
"""What a RayJob of KubeRay's may say, as far as ours does; its schema is in no package."""
RAY_CLUSTER = {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
RAY_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}

Manifest = dict[str, Any]


@functools.cache
def manifests() -> list[Manifest]:
    """Return all that is applied, in order of files."""
    files = [file for file in MANIFESTS if file.name != "kustomization.yaml"]
    return [found for file in files for found in yaml.safe_load_all(file.read_text())]


def one(kind: str, name: str) -> Manifest:
    (found,) = (each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def check(manifest: Manifest) -> None:
    """Raise ValidationError for what Kubernetes would refuse, or silently forget."""
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def pod_template(template: Manifest) -> Manifest:
    """Return the pods of something that is not Kubernetes' own as something that is."""
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "any"},
        "template": template,
    }


def ray_groups() -> list[Manifest]:
    cluster = one("RayJob", "outrider-trainer")["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pods() -> Iterator[Manifest]:
    """Yield the pod templates of all manifests."""
    for manifest in manifests():
        if manifest["kind"] == "Deployment":
            yield manifest["spec"]["template"]
    for group in ray_groups():
        yield group["template"]


def pods_with(labels: dict[str, str]) -> list[Manifest]:
    return [pod for pod in pods() if labels.items() <= pod["metadata"]["labels"].items()]


def container(pod: Manifest) -> Manifest:
    (only,) = pod["spec"]["containers"]
    return only


def port_named(pod: Manifest, name: str) -> int:
    (port,) = (port["containerPort"] for port in container(pod)["ports"] if port["name"] == name)
    return port


def command_of(pod: Manifest) -> list[str]:
    """Return what the first container of a Deployment runs, with what Kubernetes puts into it."""
    return [re.sub(r"\$\(\w+\)", "pod-7", argument) for argument in container(pod)["args"]]


def trainers_command() -> list[str]:
    return shlex.split(one("RayJob", "outrider-trainer")["spec"]["entrypoint"])


def flag(command: list[str], name: str) -> str:
    (value,) = (word.partition("=")[2] for word in command if word.startswith(f"--{name}="))
    return value


FARM = one("Deployment", "outrider-farm")["spec"]["template"]
LEARNER = one("Deployment", "outrider-learner")["spec"]["template"]
HEAD = ray_groups()[0]["template"]


@pytest.mark.parametrize(
    "manifest",
    [each for each in manifests() if each["kind"] != "RayJob"],
    ids=lambda each: f"{each['kind']}-{each['metadata']['name']}",
)
def test_kubernetes_reads_every_word(manifest: Manifest) -> None:
    check(manifest)


def test_kubernetes_reads_every_word_of_the_pods_of_the_ray_cluster() -> None:
    for group in ray_groups():
        check(pod_template(group["template"]))


def test_the_ray_job_says_what_kuberay_knows() -> None:
    job = one("RayJob", "outrider-trainer")
    assert job["apiVersion"] == "ray.io/v1"
    assert job["spec"].keys() <= RAY_JOB
    assert job["spec"]["rayClusterSpec"].keys() <= RAY_CLUSTER
    for group in ray_groups():
        assert group.keys() <= RAY_GROUP
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def broken(change: str) -> Manifest:
    manifest = copy.deepcopy(one("Deployment", "outrider-farm"))
    spec = manifest["spec"]["template"]["spec"]
    farm = spec["containers"][0]
    if change == "a misspelled field":
        farm["readynessProbe"] = farm.pop("readinessProbe")
    elif change == "a number where text belongs":
        farm["args"].append(8080)
    elif change == "no selector":
        del manifest["spec"]["selector"]
    elif change == "a field at the wrong place":
        farm["terminationGracePeriodSeconds"] = spec.pop("terminationGracePeriodSeconds")
    return manifest


@pytest.mark.parametrize(
    "change",
    ["a misspelled field", "a number where text belongs", "no selector", "a field at the wrong place"],
)
def test_a_broken_manifest_is_found(change: str) -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        check(broken(change))


def test_a_broken_pod_of_the_ray_cluster_is_found() -> None:
    template = copy.deepcopy(HEAD)
    template["spec"]["containers"][0]["volumeMount"] = template["spec"]["containers"][0].pop("volumeMounts")
    with pytest.raises(kubernetes_validate.ValidationError):
        check(pod_template(template))


def test_all_manifests_are_applied_together() -> None:
    applied = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    assert {*applied["resources"], "kustomization.yaml"} == {file.name for file in MANIFESTS}


@pytest.mark.parametrize("name", ["outrider-gateway", "outrider-learner"])
def test_a_service_leads_to_a_port_of_a_pod(name: str) -> None:
    service = one("Service", name)["spec"]
    (pod,) = pods_with(service["selector"])
    (port,) = service["ports"]
    assert port_named(pod, port["targetPort"]) == port["port"]


def test_a_deployment_counts_its_own_pods() -> None:
    for name in ("outrider-farm", "outrider-learner"):
        deployment = one("Deployment", name)["spec"]
        assert pods_with(deployment["selector"]["matchLabels"]) == [deployment["template"]]


def test_who_is_dialled_listens() -> None:
    trainer = trainers_command()
    assert flag(command_of(FARM), "connect") == "outrider-gateway:50051"
    assert flag(trainer, "listen") == f"0.0.0.0:{port_named(HEAD, 'gateway')}" == "0.0.0.0:50051"
    assert flag(trainer, "learner-address") == "outrider-learner:50052"
    assert flag(command_of(LEARNER), "listen") == f"0.0.0.0:{port_named(LEARNER, 'grpc')}" == "0.0.0.0:50052"


def test_commands_have_the_flags_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = farm_flags.parser().parse(command_of(FARM))
    assert (typed.env, typed.runners, typed.name) == ("CartPole-v1", 2, "pod-7")
    learner = learner_command._parser().parse_args(command_of(LEARNER))
    assert learner.health_port == port_named(LEARNER, "health") == port_named(FARM, "health")
    configured: list[Any] = []

    def keep(name: str, config: Any, results: Any) -> int:
        configured.append(config)
        return 0

    monkeypatch.setattr(train_command, "_train", keep)
    program, command, *arguments = trainers_command()
    assert (program, command, train_command.run(arguments)) == ("outrider", "train", 0)
    runners = configured[0].settings.env_runners
    assert (runners.num_env_runners, runners.num_farm_runners) == (6, 4)


@pytest.mark.parametrize("flag", ["--conect=outrider-gateway:50051", "--tls-certificate-authority=x"])
def test_a_flag_that_a_farm_does_not_have_is_found(flag: str) -> None:
    with pytest.raises(SystemExit):
        farm_flags.parser().parse([*command_of(FARM), flag])


def test_farms_are_given_the_time_that_they_take_to_drain() -> None:
    drains_s = farm_flags.parser().parse(command_of(FARM)).drain_timeout
    assert FARM["spec"]["terminationGracePeriodSeconds"] > drains_s + farm._KILL_S


@pytest.mark.parametrize("pod", [FARM, LEARNER], ids=["farm", "learner"])
def test_probes_ask_for_what_is_answered(pod: Manifest) -> None:
    probes = [probe for name, probe in container(pod).items() if name.endswith("Probe")]
    assert {probe["httpGet"]["path"] for probe in probes} == {"/healthz", "/readyz"}
    answers = Health(0, lambda: (True, "1 runners connected"))
    try:
        for probe in probes:
            assert urlopen(f"http://127.0.0.1:{answers.port}{probe['httpGet']['path']}").status == 200
    finally:
        answers.close()


def test_a_file_that_a_command_reads_is_mounted() -> None:
    commands = [(FARM, command_of(FARM)), (LEARNER, command_of(LEARNER)), (HEAD, trainers_command())]
    for pod, command in commands:
        mounted = [mount["mountPath"] for mount in container(pod)["volumeMounts"]]
        read = [word.partition("=")[2] for word in command if "=/run/" in word]
        assert read
        for file in read:
            assert str(Path(file).parent) in mounted
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container(pod)["volumeMounts"]} == volumes


@pytest.mark.parametrize("name", ["outrider-farm", "outrider-learner", "outrider-trainer"])
def test_a_network_policy_is_about_pods_that_there_are(name: str) -> None:
    policy = one("NetworkPolicy", name)["spec"]
    assert pods_with(policy["podSelector"]["matchLabels"])
    for rule in policy.get("ingress", []):
        for port in rule.get("ports", []):
            assert any(
                port_named(pod, port["port"]) for pod in pods_with(policy["podSelector"]["matchLabels"])[:1]
            )


def test_farms_may_reach_the_gateway_and_may_not_reach_ray_or_the_learner() -> None:
    labels = FARM["metadata"]["labels"]

    def opened(name: str) -> list[str]:
        return [
            port["port"]
            for rule in one("NetworkPolicy", name)["spec"]["ingress"]
            for peer in rule["from"]
            if "podSelector" in peer and peer["podSelector"]["matchLabels"].items() <= labels.items()
            for port in rule["ports"]
        ]

    assert opened("outrider-trainer") == ["gateway"]
    assert opened("outrider-learner") == []


def test_nobody_runs_as_root_and_farms_write_nowhere() -> None:
    for pod in pods():
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert not container(pod)["securityContext"]["allowPrivilegeEscalation"]
    assert container(FARM)["securityContext"]["readOnlyRootFilesystem"]


def test_only_the_learner_asks_for_a_gpu() -> None:
    asking = [pod for pod in pods() if "nvidia.com/gpu" in json.dumps(container(pod)["resources"])]
    assert asking == [LEARNER]


def test_the_ray_of_the_image_is_that_of_the_cluster() -> None:
    wanted = one("RayJob", "outrider-trainer")["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"ray[default]=={wanted}" in (DEPLOY / "trainer.Containerfile").read_text()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_an_image_runs_as_the_user_of_the_pods(recipe: Path) -> None:
    lines = recipe.read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]
    assert all(pod["spec"]["securityContext"]["runAsUser"] == 10001 for pod in pods())


@pytest.mark.parametrize(("part", "recipe"), [("envrunner", "farm"), ("learner", "learner")])
def test_an_image_installs_the_command_that_it_runs(part: str, recipe: str) -> None:
    text = (DEPLOY / f"{recipe}.Containerfile").read_text()
    (entry,) = (json.loads(line[10:]) for line in text.splitlines() if line.startswith("ENTRYPOINT"))
    project = tomllib.loads((ROOT / "packages" / part / "pyproject.toml").read_text())["project"]
    assert f'"{project["name"]}[grpc]"' in text
    assert entry[0] in project["scripts"]
