"""What the check knows, and what it makes of values that are not known yet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml

from cdk_stable_diffusion.cluster.versions import VERSIONS
from cdk_stable_diffusion.validation import cel
from cdk_stable_diffusion.validation.checker import faults_of, is_known
from cdk_stable_diffusion.validation.schema import KUBERNETES_SCHEMAS, kubernetes_version
from cdk_stable_diffusion.validation.token import token, untyped_token
from tests.validation.samples import container, pod, sample, template, trigger, volume
from tools import kubernetes_schemas

DEFINITIONS = sorted(KUBERNETES_SCHEMAS.parent.glob("*.yaml"))


class TestSchemas:
    def test_kubernetes_own_are_as_it_publishes_them(self) -> None:
        assert KUBERNETES_SCHEMAS.read_text("utf-8") == kubernetes_schemas.text()

    def test_they_are_of_the_version_of_the_clusters(self) -> None:
        assert kubernetes_version() == VERSIONS.kubernetes

    def test_definitions_are_of_the_versions_that_are_installed(self) -> None:
        origins = (KUBERNETES_SCHEMAS.parent / "README.md").read_text("utf-8")
        assert f"`v{VERSIONS.karpenter}`" in origins
        assert f"`v{VERSIONS.keda}`" in origins

    @pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
    def test_every_definition_is_used_and_its_origin_is_named(self, path: Path) -> None:
        spec = yaml.safe_load(path.read_text("utf-8"))["spec"]
        assert path.name in (path.parent / "README.md").read_text("utf-8")
        for version in spec["versions"]:
            resource = {
                "apiVersion": f"{spec['group']}/{version['name']}",
                "kind": spec["names"]["kind"],
                "metadata": {"name": "it"},
                "nothing": 1,
            }
            assert "nothing" in {fault.field for fault in faults_of(resource)}

    @pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
    def test_every_rule_can_be_evaluated(self, path: Path) -> None:
        def compile_all(schema: Any) -> int:
            count = 0
            for rule in schema.get("x-kubernetes-validations", ()):
                assert isinstance(cel._program(rule["rule"]), celpy.Runner)
                count += 1
            inner = [
                *schema.get("properties", {}).values(),
                schema.get("items"),
                schema.get("additionalProperties"),
            ]
            return count + sum(compile_all(each) for each in inner if isinstance(each, dict))

        (version,) = yaml.safe_load(path.read_text("utf-8"))["spec"]["versions"]
        rules = compile_all(version["schema"]["openAPIV3Schema"])
        assert (rules > 0) == ("x-kubernetes-validations" in path.read_text("utf-8"))


def test_the_recursion_limit_of_the_app_stays() -> None:
    before = sys.getrecursionlimit()
    cel._program.cache_clear()
    assert faults_of(sample("NodePool")) == []
    assert sys.getrecursionlimit() == before


class TestKinds:
    @pytest.mark.parametrize(
        ("api_version", "kind"),
        [
            ("example.com/v1", "Widget"),
            ("snapshot.storage.k8s.io/v1", "VolumeSnapshot"),
            ("keda.sh/v1alpha1", "ScaledJob"),
            ("eks.amazonaws.com/v1", "IngressClassParams"),
            # Other makers have kinds of the same names, and groups that begin alike.
            ("apps.example.com/v1", "Deployment"),
            ("apps.kruise.io/v1alpha1", "StatefulSet"),
            ("batch.volcano.sh/v1alpha1", "Job"),
            ("crd.projectcalico.org/v1", "NetworkPolicy"),
            ("hypershift.openshift.io/v1beta1", "NodePool"),
            ("kueue.x-k8s.io/v1beta1", "Workload"),
            ("networking.istio.io/v1", "Gateway"),
            ("serving.knative.dev/v1", "Service"),
            # Not known yet.
            (f"{token('Group')}/v1", "Deployment"),
            ("apps/v1", token("Kind")),
        ],
    )
    def test_kinds_without_a_schema_are_not_judged(self, api_version: str, kind: str) -> None:
        resource = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "it"}, "x": 1}
        assert not is_known(resource)
        assert faults_of(resource) == []

    @pytest.mark.parametrize(
        ("api_version", "kind"),
        [("v1", "Pods"), ("apps/v1beta1", "Deployment"), ("karpenter.sh/v1", "Provisioner")],
    )
    def test_kinds_that_an_api_does_not_have_are_refused(self, api_version: str, kind: str) -> None:
        resource = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "it"}}
        assert is_known(resource)
        (fault,) = faults_of(resource)
        assert fault.field == "kind"


class TestNullAndDefaults:
    def test_null_is_as_if_it_were_not_there(self) -> None:
        assert faults_of(sample("NodePool", lambda it: it["spec"].update(weight=None))) == []
        assert faults_of(sample("Deployment", lambda it: pod(it).update(hostname=None))) == []

    def test_what_has_a_default_need_not_be_given(self) -> None:
        # A budget must have a number of nodes, which is "10%" by default.
        budgets = [{"reasons": ["Drifted"]}]
        disruption = {"consolidateAfter": "60s", "budgets": budgets}
        assert (
            faults_of(sample("NodePool", lambda it: it["spec"].update(disruption=disruption))) == []
        )


class TestNoFaults:
    """What is as right as the samples."""

    @pytest.mark.parametrize(
        "requirement",
        [
            {"key": "tier", "operator": "In", "values": ["data", "web"]},
            {"key": "tier", "operator": "NotIn", "values": ["web"]},
            {"key": "tier", "operator": "Exists"},
            {"key": "zone", "operator": "DoesNotExist"},
            {"key": "zone", "operator": "NotIn", "values": ["web"]},
        ],
    )
    def test_expressions_that_the_labels_meet(self, requirement: Any) -> None:
        def change(it: Any) -> None:
            it["spec"]["selector"]["matchExpressions"] = [requirement]

        assert faults_of(sample("StatefulSet", change)) == []

    @pytest.mark.parametrize("field", ["type", "sessionAffinity", "externalTrafficPolicy"])
    def test_an_empty_text_stands_for_the_default(self, field: str) -> None:
        assert faults_of(sample("Service", lambda it: it["spec"].update({field: ""}))) == []

    @pytest.mark.parametrize("field", ["restartPolicy", "dnsPolicy"])
    def test_an_empty_text_stands_for_the_default_in_a_pod(self, field: str) -> None:
        assert faults_of(sample("Deployment", lambda it: pod(it).update({field: ""}))) == []

    @pytest.mark.parametrize("selector", [None, {}, {"matchLabels": None}])
    def test_a_job_without_a_selector_gets_one(self, selector: Any) -> None:
        assert faults_of(sample("Job", lambda it: it["spec"].update(selector=selector))) == []


class TestWhatIsNotKnownYet:
    """References to other resources, which have a value only at deployment."""

    @pytest.mark.parametrize(
        ("kind", "change"),
        [
            # Of a pattern, of a list of values, in an identifier, and as an amount.
            ("NodePool", lambda it: template(it).update(expireAfter=token("Age"))),
            ("NodePool", lambda it: template(it)["taints"][0].update(effect=token("Effect"))),
            ("EC2NodeClass", lambda it: it["spec"].update(instanceProfile=token("Profile"))),
            (
                "EC2NodeClass",
                lambda it: it["spec"].update(subnetSelectorTerms=[{"id": token("Subnet")}]),
            ),
            (
                "EC2NodeClass",
                lambda it: volume(it).update(
                    snapshotID=token("Cache.SnapshotId"), volumeInitializationRate=300
                ),
            ),
            (
                "EC2NodeClass",
                lambda it: it["spec"].update(amiSelectorTerms=[{"alias": token("Alias")}]),
            ),
            ("EC2NodeClass", lambda it: volume(it).update(volumeSize=f"{token('Size')}Gi")),
            ("ScaledObject", lambda it: it["spec"].update(maxReplicaCount=untyped_token("Most"))),
            ("ScaledObject", lambda it: it["spec"].update(minReplicaCount=untyped_token("Few"))),
            ("ScaledObject", lambda it: trigger(it).update(queueURL=token("Queue"))),
            ("ScaledObject", lambda it: trigger(it).update(queueLength=token("Length"))),
            (
                "NodePool",
                lambda it: template(it)["requirements"][0].update(
                    operator="Gte", values=[token("Count")]
                ),
            ),
            ("NodePool", lambda it: template(it).update(requirements=untyped_token("List"))),
            ("Deployment", lambda it: it["spec"].update(replicas=untyped_token("Count"))),
            ("Deployment", lambda it: container(it).update(volumeMounts=untyped_token("Mounts"))),
            ("Deployment", lambda it: container(it).update(resources=untyped_token("Amounts"))),
            ("Deployment", lambda it: it["spec"].update(selector=untyped_token("Selector"))),
            ("Deployment", lambda it: it["metadata"]["labels"].update(app=token("Name"))),
            (
                "Deployment",
                lambda it: it["spec"]["selector"]["matchLabels"].update({token("Key"): "x"}),
            ),
            (
                "Deployment",
                lambda it: it["spec"]["template"]["metadata"].update(labels={token("Key"): "x"}),
            ),
            (
                "StatefulSet",
                lambda it: it["spec"]["selector"].update(
                    matchExpressions=[{"key": "a", "operator": "In", "values": [token("Value")]}]
                ),
            ),
            ("Deployment", lambda it: pod(it).update(containers=untyped_token("Containers"))),
            ("Service", lambda it: it["spec"].update(type=token("Type"))),
            ("PodDisruptionBudget", lambda it: it.update(spec=untyped_token("Spec"))),
        ],
    )
    def test_it_is_taken_to_be_right(self, kind: str, change: Any) -> None:
        assert faults_of(sample(kind, change)) == []

    @pytest.mark.parametrize(
        ("kind", "change", "field"),
        [
            # A string is a string, whatever is in it.
            ("Deployment", lambda it: it["spec"].update(replicas=token("Count")), "spec.replicas"),
            # Fields are known, and so is that two exclude each other.
            (
                "EC2NodeClass",
                lambda it: it["spec"].update(instanceProfil=token("Profile")),
                "spec.instanceProfil",
            ),
            ("EC2NodeClass", lambda it: it["spec"].update(role=token("Role")), "spec"),
            # What is known beside it is judged.
            (
                "EC2NodeClass",
                lambda it: (
                    volume(it).update(snapshotID=token("Cache.SnapshotId")),
                    it["spec"].update(instanceStorePolicy="RAID0"),
                ),
                "spec.blockDeviceMappings[0].ebs.snapshotID",
            ),
            (
                "EC2NodeClass",
                lambda it: (
                    volume(it).update(snapshotID=token("Cache.SnapshotId")),
                    it["spec"].update(userData=f"# {token('Note')}\nsnapshotter='soci'"),
                ),
                "spec.blockDeviceMappings[0].ebs.snapshotID",
            ),
        ],
    )
    def test_the_rest_is_judged(self, kind: str, change: Any, field: str) -> None:
        (fault,) = faults_of(sample(kind, change))
        assert fault.field == field

    def test_messages_show_what_it_is(self) -> None:
        (fault,) = faults_of(
            sample("Deployment", lambda it: it["spec"].update(replicas=token("Count.Value")))
        )
        assert fault.says == "is '${Count.Value}': must be a whole number"
