"""The values of Helm charts do what they are for: see `tests.manifests.helm`."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cdk_stable_diffusion.validation.checker import faults_of
from tests.manifests.compose import quickstart
from tests.manifests.helm import Release, changed, extract_helm, leaves, releases, render
from tests.manifests.pod_security import restricted_faults

NAMES = ("karpenter", "karpenter-crd", "keda")


@cache
def installed() -> dict[str, Release]:
    return {release.name: release for release in releases(quickstart())}


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if all(release.chart is None for release in installed().values()):
        pytest.skip("there is no chart here: see tests/manifests/helm.py")
    return extract_helm(tmp_path_factory.mktemp("helm"))


def rendered(helm: Path, name: str) -> list[dict[str, Any]]:
    release = installed()[name]
    if release.chart is None:
        pytest.skip(f"the chart {name}-{release.version} is not here: see tests/manifests/helm.py")
    return _rendered(helm, name)


@cache
def _rendered(helm: Path, name: str) -> list[dict[str, Any]]:
    return render(helm, installed()[name], installed()[name].values)


def deployment(resources: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = (
        each
        for each in resources
        if each["kind"] == "Deployment" and each["metadata"]["name"] == name
    )
    return dict(found["spec"])


def pods(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in resources
        if each["kind"] == "Deployment"
    }


def test_there_are_three() -> None:
    assert sorted(installed()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_chart_makes_is_valid(helm: Path, name: str) -> None:
    found = rendered(helm, name)
    assert found
    faults = {
        f"{each['kind']} {each['metadata']['name']}": [str(fault) for fault in faults_of(each)]
        for each in found
    }
    assert {name: of_it for name, of_it in faults.items() if of_it} == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_read(helm: Path, name: str) -> None:
    """A chart says nothing of a value that it does not know: another one must make a difference."""
    before = rendered(helm, name)
    release = installed()[name]
    unread = [
        ".".join(map(str, path))
        for path, _ in leaves(release.values)
        if _makes_no_difference(helm, release, path, before)
    ]
    assert unread == []


def _makes_no_difference(
    helm: Path, release: Release, path: tuple[str | int, ...], before: list[dict[str, Any]]
) -> bool:
    try:
        return render(helm, release, changed(release.values, path)) == before
    except ValueError:
        # Refused, and so read.
        return False


def test_a_misspelt_value_would_be_noticed(helm: Path) -> None:
    before = rendered(helm, "keda")
    release = installed()["keda"]
    misspelt = dataclasses.replace(release, values={**release.values, "replicaCounts": 2})
    assert _makes_no_difference(helm, misspelt, ("replicaCounts",), before)


class TestKarpenter:
    @pytest.fixture
    def spec(self, helm: Path) -> dict[str, Any]:
        return deployment(rendered(helm, "karpenter"), "karpenter")

    @pytest.fixture
    def controller(self, spec: dict[str, Any]) -> dict[str, Any]:
        (container,) = spec["template"]["spec"]["containers"]
        return dict(container)

    def test_has_two_replicas_of_the_systems_priority(self, spec: dict[str, Any]) -> None:
        assert spec["replicas"] == 2
        assert spec["template"]["spec"]["priorityClassName"] == "system-cluster-critical"

    def test_has_its_role_by_its_service_account(self, helm: Path, spec: dict[str, Any]) -> None:
        assert spec["template"]["spec"]["serviceAccountName"] == "karpenter"
        accounts = [
            each["metadata"]["name"]
            for each in rendered(helm, "karpenter")
            if each["kind"] == "ServiceAccount"
        ]
        assert accounts == ["karpenter"]

    def test_knows_its_cluster_its_region_and_its_queue(self, controller: dict[str, Any]) -> None:
        environment = {each["name"]: each.get("value") for each in controller["env"]}
        given = installed()["karpenter"].values["settings"]
        assert environment["CLUSTER_NAME"] == given["clusterName"]
        assert environment["INTERRUPTION_QUEUE"] == given["interruptionQueue"]
        assert environment["AWS_REGION"] == "${AWS::Region}"

    def test_has_the_resources_that_are_asked_for(self, controller: dict[str, Any]) -> None:
        assert controller["resources"] == installed()["karpenter"].values["controller"]["resources"]

    def test_stays_off_its_own_nodes(self, spec: dict[str, Any]) -> None:
        (term,) = spec["template"]["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"]
        assert {"key": "karpenter.sh/nodepool", "operator": "DoesNotExist"} in term[
            "matchExpressions"
        ]

    def test_waits_for_no_dns_of_the_cluster(self, spec: dict[str, Any]) -> None:
        assert spec["template"]["spec"]["dnsPolicy"] == "Default"


class TestKeda:
    @pytest.fixture
    def resources(self, helm: Path) -> list[dict[str, Any]]:
        return rendered(helm, "keda")

    def test_has_two_operators(self, resources: list[dict[str, Any]]) -> None:
        assert deployment(resources, "keda-operator")["replicas"] == 2

    def test_reads_queues_as_its_operator(self, resources: list[dict[str, Any]]) -> None:
        assert pods(resources)["keda-operator"]["serviceAccountName"] == "keda-operator"
        accounts = {
            each["metadata"]["name"] for each in resources if each["kind"] == "ServiceAccount"
        }
        assert "keda-operator" in accounts

    def test_every_pod_is_of_the_systems_priority(self, resources: list[dict[str, Any]]) -> None:
        found = {pod["priorityClassName"] for pod in pods(resources).values()}
        assert found == {"system-cluster-critical"}

    def test_every_pod_has_the_resources_that_are_asked_for(
        self, resources: list[dict[str, Any]]
    ) -> None:
        given = installed()["keda"].values["resources"]
        names = {
            "keda-operator": "operator",
            "keda-operator-metrics-apiserver": "metricServer",
            "keda-admission-webhooks": "webhooks",
        }
        for name, pod in pods(resources).items():
            (container,) = pod["containers"]
            wanted = given[names[name]]
            assert container["resources"]["requests"] == wanted["requests"]
            # Helm adds them to the chart's own: of the CPU, the chart's stays.
            assert wanted["limits"].items() <= container["resources"]["limits"].items()

    def test_every_pod_meets_the_restricted_standard(self, resources: list[dict[str, Any]]) -> None:
        found = {name: restricted_faults(pod) for name, pod in pods(resources).items()}
        assert found == {name: [] for name in found}
        assert len(found) == 3

    def test_no_pod_is_on_a_node_that_karpenter_ends(self, resources: list[dict[str, Any]]) -> None:
        for pod in pods(resources).values():
            (term,) = pod["affinity"]["nodeAffinity"][
                "requiredDuringSchedulingIgnoredDuringExecution"
            ]["nodeSelectorTerms"]
            assert term["matchExpressions"] == [
                {"key": "karpenter.sh/nodepool", "operator": "DoesNotExist"}
            ]

    def test_images_are_not_pulled_again(self, resources: list[dict[str, Any]]) -> None:
        for pod in pods(resources).values():
            assert {each["imagePullPolicy"] for each in pod["containers"]} == {"IfNotPresent"}
