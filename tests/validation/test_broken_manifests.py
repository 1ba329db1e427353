"""Each mistake in a manifest is refused with a message that names the field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cdk_stable_diffusion.validation.checker import faults_of
from tests.validation.samples import (
    SAMPLES,
    Change,
    Resource,
    container,
    pod,
    sample,
    template,
    trigger,
    volume,
)


@pytest.mark.parametrize("kind", SAMPLES)
def test_what_is_right_is_accepted(kind: str) -> None:
    assert faults_of(sample(kind)) == []


MISTAKES: dict[str, tuple[str, Change, str, str]] = {
    "misspelt field of a container": (
        "Deployment",
        lambda it: container(it).update(imag="x"),
        "spec.template.spec.containers[0].imag",
        "did you mean 'image'?",
    ),
    "misspelt field of a deployment": (
        "Deployment",
        lambda it: it["spec"].update(replica=1),
        "spec.replica",
        "did you mean 'replicas'?",
    ),
    "unknown field of a pod": (
        "Deployment",
        lambda it: pod(it).update(gpu=1),
        "spec.template.spec.gpu",
        "is no known field",
    ),
    "unknown field of metadata": (
        "NodePool",
        lambda it: it["metadata"].update(label={}),
        "metadata.label",
        "did you mean 'labels'?",
    ),
    "text for a number": (
        "Deployment",
        lambda it: pod(it).update(terminationGracePeriodSeconds="30"),
        "spec.template.spec.terminationGracePeriodSeconds",
        "is '30': must be a whole number",
    ),
    "number for a text": (
        "Deployment",
        lambda it: container(it)["env"][0].update(value=1),
        "spec.template.spec.containers[0].env[0].value",
        "is 1: must be a string",
    ),
    "number in a trigger": (
        "ScaledObject",
        lambda it: trigger(it).update(queueLength=3),
        "spec.triggers[0].metadata.queueLength",
        "is 3: must be a string",
    ),
    "object for a list": (
        "Deployment",
        lambda it: pod(it).update(containers={}),
        "spec.template.spec.containers",
        "is {}: must be a list",
    ),
    "missing selector": (
        "Deployment",
        lambda it: it["spec"].pop("selector"),
        "spec.selector",
        "is missing",
    ),
    "selector of other pods": (
        "Deployment",
        lambda it: it["spec"]["selector"]["matchLabels"].update(app="other"),
        "spec.selector.matchLabels",
        "wants app=other",
    ),
    "selector with an expression for other pods": (
        "StatefulSet",
        lambda it: it["spec"]["selector"].update(
            matchExpressions=[{"key": "tier", "operator": "In", "values": ["web"]}]
        ),
        "spec.selector.matchExpressions[0]",
        "is not met by the labels in spec.template.metadata.labels",
    ),
    "selector of other pods in a job": (
        "Job",
        lambda it: it["spec"].update(
            manualSelector=True, selector={"matchLabels": {"app": "other"}}
        ),
        "spec.selector.matchLabels",
        "wants app=other",
    ),
    "pod without a container": (
        "Deployment",
        lambda it: pod(it).update(containers=[]),
        "spec.template.spec.containers",
        "has 0 items: at least 1",
    ),
    "type that a service has not": (
        "Service",
        lambda it: it["spec"].update(type="LoadBalncer"),
        "spec.type",
        "is 'LoadBalncer': must be one of 'ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'",
    ),
    "affinity that there is not": (
        "Service",
        lambda it: it["spec"].update(sessionAffinity="Client"),
        "spec.sessionAffinity",
        "must be one of 'ClientIP', 'None'",
    ),
    "traffic policy that there is not": (
        "Service",
        lambda it: it["spec"].update(internalTrafficPolicy="Node"),
        "spec.internalTrafficPolicy",
        "must be one of 'Cluster', 'Local'",
    ),
    "access that there is not": (
        "StatefulSet",
        lambda it: it["spec"]["volumeClaimTemplates"][0]["spec"].update(accessModes=["RWO"]),
        "spec.volumeClaimTemplates[0].spec.accessModes[0]",
        "is 'RWO': must be one of 'ReadWriteOnce'",
    ),
    "order of pods that there is not": (
        "StatefulSet",
        lambda it: it["spec"].update(podManagementPolicy="Ordered"),
        "spec.podManagementPolicy",
        "must be one of 'OrderedReady', 'Parallel'",
    ),
    "update of a stateful set that there is not": (
        "StatefulSet",
        lambda it: it["spec"]["updateStrategy"].update(type="Recreate"),
        "spec.updateStrategy.type",
        "must be one of 'RollingUpdate', 'OnDelete'",
    ),
    "kind of path that there is not": (
        "Ingress",
        lambda it: it["spec"]["rules"][0]["http"]["paths"][0].update(pathType="prefix"),
        "spec.rules[0].http.paths[0].pathType",
        "is 'prefix': must be one of 'Exact', 'Prefix'",
    ),
    "binding of volumes that there is not": (
        "StorageClass",
        lambda it: it.update(volumeBindingMode="WaitForConsumer"),
        "volumeBindingMode",
        "must be one of 'Immediate', 'WaitForFirstConsumer'",
    ),
    "port out of range": (
        "Deployment",
        lambda it: container(it)["ports"][0].update(containerPort=70_000),
        "spec.template.spec.containers[0].ports[0].containerPort",
        "is 70000: at most 65535",
    ),
    "port of a probe out of range": (
        "Deployment",
        lambda it: container(it)["livenessProbe"]["httpGet"].update(port=0),
        "spec.template.spec.containers[0].livenessProbe.httpGet.port",
        "is 0: at least 1",
    ),
    "port of a network policy out of range": (
        "NetworkPolicy",
        lambda it: it["spec"]["egress"][0]["ports"][0].update(port=443_000),
        "spec.egress[0].ports[0].port",
        "at most 65535",
    ),
    "policy type that there is not": (
        "NetworkPolicy",
        lambda it: it["spec"].update(policyTypes=["Outgress"]),
        "spec.policyTypes[0]",
        "must be one of 'Ingress', 'Egress'",
    ),
    "pull policy that there is not": (
        "Deployment",
        lambda it: container(it).update(imagePullPolicy="OnlyOnce"),
        "spec.template.spec.containers[0].imagePullPolicy",
        "must be one of 'Always', 'Never', 'IfNotPresent'",
    ),
    "effect that there is not": (
        "Deployment",
        lambda it: pod(it)["tolerations"][0].update(effect="NoSchedul"),
        "spec.template.spec.tolerations[0].effect",
        "'NoSchedul'",
    ),
    "amount that is none": (
        "Deployment",
        lambda it: container(it)["resources"]["requests"].update(memory="10GiB"),
        "spec.template.spec.containers[0].resources.requests.memory",
        "is '10GiB': must match",
    ),
    "label that is none": (
        "Deployment",
        lambda it: it["metadata"]["labels"].update(app="two words"),
        "metadata.labels.app",
        "is 'two words': must match",
    ),
    "key of a label that is none": (
        "Deployment",
        lambda it: it["metadata"]["labels"].update({"two words": "x"}),
        "metadata.labels.two words",
        "is no key of that form",
    ),
    "volume that there is not": (
        "Deployment",
        lambda it: container(it)["volumeMounts"][0].update(name="cash"),
        "spec.template.spec.containers[0].volumeMounts[0].name",
        "is 'cash': the pod has no such volume",
    ),
    "GPU without a limit": (
        "Deployment",
        lambda it: container(it)["resources"].pop("limits"),
        "spec.template.spec.containers[0].resources.requests['nvidia.com/gpu']",
        "the limit must be the same",
    ),
    "update that replaces no pod": (
        "Deployment",
        lambda it: it["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=0),
        "spec.strategy.rollingUpdate",
        "maxSurge and maxUnavailable",
    ),
    "priority that is the system's": (
        "PriorityClass",
        lambda it: it.update(value=2_000_000_000),
        "value",
        "is 2000000000: at most 1000000000",
    ),
    "pre-emption that there is not": (
        "PriorityClass",
        lambda it: it.update(preemptionPolicy="Sometimes"),
        "preemptionPolicy",
        "must be one of 'Never', 'PreemptLowerPriority'",
    ),
    "budget with two bounds": (
        "PodDisruptionBudget",
        lambda it: it["spec"].update(minAvailable=1),
        "spec",
        "minAvailable and maxUnavailable",
    ),
    "unknown field of a service account": (
        "ServiceAccount",
        lambda it: it.update(automountToken=False),
        "automountToken",
        "is no known field",
    ),
    "consolidation that there is not": (
        "NodePool",
        lambda it: it["spec"]["disruption"].update(consolidationPolicy="WhenUnderutilized"),
        "spec.disruption.consolidationPolicy",
        "is 'WhenUnderutilized': must be one of 'WhenEmpty'",
    ),
    "field of a former Karpenter": (
        "NodePool",
        lambda it: template(it).update(ttlSecondsAfterEmpty=30),
        "spec.template.spec.ttlSecondsAfterEmpty",
        "is no known field",
    ),
    "weight of a static pool": (
        "NodePool",
        lambda it: it["spec"].update(weight=5, replicas=1, limits={"nodes": "2"}),
        "spec",
        "'weight' is not supported on static NodePools",
    ),
    "schedule without a duration": (
        "NodePool",
        lambda it: it["spec"]["disruption"]["budgets"][0].update(schedule="@daily"),
        "spec.disruption.budgets",
        "'schedule' must be set with 'duration'",
    ),
    "label of Karpenter's own domain": (
        "NodePool",
        lambda it: it["spec"]["template"]["metadata"]["labels"].update(
            {"karpenter.k8s.aws/mine": "1"}
        ),
        "spec.template.metadata.labels",
        'label domain "karpenter.k8s.aws" is restricted',
    ),
    "requirement of Karpenter's own domain": (
        "NodePool",
        lambda it: template(it)["requirements"][0].update(key="karpenter.k8s.aws/gpu"),
        "spec.template.spec.requirements[0].key",
        'label domain "karpenter.k8s.aws" is restricted',
    ),
    "requirement of the other node class": (
        "NodePool",
        lambda it: template(it)["requirements"][0].update(key="eks.amazonaws.com/instance-cpu"),
        "spec.template.spec.requirements[0].key",
        "have no labels of eks.amazonaws.com",
    ),
    "requirement with two bounds": (
        "NodePool",
        lambda it: template(it)["requirements"][0].update(operator="Gte", values=["1", "2"]),
        "spec.template.spec.requirements",
        "must have a single positive integer value",
    ),
    "missing node class": (
        "NodePool",
        lambda it: template(it).pop("nodeClassRef"),
        "spec.template.spec.nodeClassRef",
        "is missing",
    ),
    "grace that is no duration": (
        "NodePool",
        lambda it: template(it).update(terminationGracePeriod="5 minutes"),
        "spec.template.spec.terminationGracePeriod",
        "is '5 minutes': must match",
    ),
    "role and instance profile": (
        "EC2NodeClass",
        lambda it: it["spec"].update(role="nodes"),
        "spec",
        "must specify exactly one of ['role', 'instanceProfile']",
    ),
    "rate without a snapshot": (
        "EC2NodeClass",
        lambda it: volume(it).update(volumeInitializationRate=300),
        "spec.blockDeviceMappings[0].ebs",
        "snapshotID must be set when volumeInitializationRate is set",
    ),
    "array that there is not": (
        "EC2NodeClass",
        lambda it: it["spec"].update(instanceStorePolicy="RAID1"),
        "spec.instanceStorePolicy",
        "is 'RAID1': must be one of 'RAID0'",
    ),
    "array over a snapshot": (
        "EC2NodeClass",
        lambda it: (
            volume(it).update(snapshotID="snap-0a"),
            it["spec"].update(instanceStorePolicy="RAID0"),
        ),
        "spec.blockDeviceMappings[0].ebs.snapshotID",
        "instanceStorePolicy RAID0",
    ),
    "another snapshotter than the snapshot's": (
        "EC2NodeClass",
        lambda it: (
            volume(it).update(snapshotID="snap-0a"),
            it["spec"].update(
                userData='[settings.container-runtime]\nsnapshotter = "soci"\n',
            ),
        ),
        "spec.blockDeviceMappings[0].ebs.snapshotID",
        'snapshotter = "soci"',
    ),
    "image that there is not": (
        "EC2NodeClass",
        lambda it: it["spec"].update(amiSelectorTerms=[{"alias": "bottlerokket@latest"}]),
        "spec.amiSelectorTerms[0].alias",
        "family is not supported",
    ),
    "user data in Auto Mode": (
        "NodeClass",
        lambda it: it["spec"].update(userData="[settings]"),
        "spec.userData",
        "is no known field",
    ),
    "snapshot in Auto Mode": (
        "NodeClass",
        lambda it: it["spec"]["ephemeralStorage"].update(snapshotID="snap-0a"),
        "spec.ephemeralStorage.snapshotID",
        "is no known field",
    ),
    "throughput out of range in Auto Mode": (
        "NodeClass",
        lambda it: it["spec"]["ephemeralStorage"].update(throughput=2_000),
        "spec.ephemeralStorage.throughput",
        "is 2000: at most 1000",
    ),
    "subnet chosen in two ways in Auto Mode": (
        "NodeClass",
        lambda it: it["spec"]["subnetSelectorTerms"][0].update(tags={"tier": "private"}),
        "spec.subnetSelectorTerms",
        "'id' cannot be set with other fields",
    ),
    "pods' subnets without their security groups": (
        "NodeClass",
        lambda it: it["spec"].update(podSubnetSelectorTerms=[{"id": "subnet-0b"}]),
        "spec",
        "podSubnetSelectorTerms and podSecurityGroupSelectorTerms go together",
    ),
    "neither role nor instance profile in Auto Mode": (
        "NodeClass",
        lambda it: it["spec"].pop("role"),
        "spec",
        "must specify exactly one of ['role', 'instanceProfile']",
    ),
    "fewest above most": (
        "ScaledObject",
        lambda it: it["spec"].update(minReplicaCount=20),
        "spec",
        "minReplicaCount must be less than or equal to maxReplicaCount",
    ),
    "cooldown as text": (
        "ScaledObject",
        lambda it: it["spec"].update(cooldownPeriod="300s"),
        "spec.cooldownPeriod",
        "is '300s': must be a whole number",
    ),
    "setting of a trigger in the wrong place": (
        "ScaledObject",
        lambda it: it["spec"].update(scaleOnInFlight="true"),
        "spec.scaleOnInFlight",
        "is no known field",
    ),
    "misspelt setting of a trigger": (
        "ScaledObject",
        lambda it: trigger(it).update(queueLenght="3"),
        "spec.triggers[0].metadata.queueLenght",
        "did you mean 'queueLength'?",
    ),
    "setting of a trigger that is no number": (
        "ScaledObject",
        lambda it: trigger(it).update(queueLength="many"),
        "spec.triggers[0].metadata.queueLength",
        "must be a whole number as text",
    ),
    "setting of a trigger that is neither true nor false": (
        "ScaledObject",
        lambda it: trigger(it).update(scaleOnInFlight="yes"),
        "spec.triggers[0].metadata.scaleOnInFlight",
        "must be 'true' or 'false'",
    ),
    "trigger without a queue": (
        "ScaledObject",
        lambda it: trigger(it).pop("queueURL"),
        "spec.triggers[0].metadata.queueURL",
        "is missing",
    ),
    "missing target": (
        "ScaledObject",
        lambda it: it["spec"].pop("scaleTargetRef"),
        "spec.scaleTargetRef",
        "is missing",
    ),
    "provider that there is not": (
        "TriggerAuthentication",
        lambda it: it["spec"]["podIdentity"].update(provider="aws-pod"),
        "spec.podIdentity.provider",
        "is 'aws-pod': must be one of",
    ),
    "kind that KEDA has not": (
        "ScaledObject",
        lambda it: it.update(kind="ScaledThing"),
        "kind",
        "is 'ScaledThing': there is no such kind in keda.sh/v1alpha1",
    ),
    "version that Karpenter has not": (
        "NodePool",
        lambda it: it.update(apiVersion="karpenter.sh/v1beta1"),
        "kind",
        "there is no such kind in karpenter.sh/v1beta1; did you mean 'karpenter.sh/v1'?",
    ),
    "kind that Kubernetes no longer has": (
        "PodDisruptionBudget",
        lambda it: it.update(apiVersion="policy/v1beta1"),
        "kind",
        "there is no such kind in policy/v1beta1 of Kubernetes 1.35; did you mean 'policy/v1'?",
    ),
    "kind in the group of another": (
        "Deployment",
        lambda it: it.update(apiVersion="v1"),
        "kind",
        "there is no such kind in v1 of Kubernetes 1.35; did you mean 'apps/v1'?",
    ),
    "misspelt kind": (
        "Deployment",
        lambda it: it.update(kind="Deploymnet"),
        "kind",
        "there is no such kind in apps/v1 of Kubernetes 1.35; did you mean 'Deployment'?",
    ),
    "misspelt group": (
        "Deployment",
        lambda it: it.update(apiVersion="app/v1"),
        "apiVersion",
        "is 'app/v1': there is no such API group; did you mean 'apps/v1'?",
    ),
    "misspelt group with dots": (
        "NetworkPolicy",
        lambda it: it.update(apiVersion="networking.k8s.oi/v1"),
        "apiVersion",
        "did you mean 'networking.k8s.io/v1'?",
    ),
    "misspelt group of KEDA": (
        "ScaledObject",
        lambda it: it.update(apiVersion="keda/v1alpha1"),
        "apiVersion",
        "did you mean 'keda.sh/v1alpha1'?",
    ),
    "group that Kubernetes no longer has": (
        "Ingress",
        lambda it: it.update(apiVersion="extensions/v1beta1"),
        "apiVersion",
        "did you mean 'networking.k8s.io/v1'?",
    ),
}


@pytest.mark.parametrize(("kind", "change", "field", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused(kind: str, change: Change, field: str, says: str) -> None:
    (fault,) = faults_of(sample(kind, change))
    assert fault.field == field
    assert says in fault.says


@pytest.mark.parametrize(
    ("api_version", "kind", "field", "right", "wrong"),
    [
        ("v1", "Service", "externalTrafficPolicy", ["Cluster", "Local"], "Node"),
        ("v1", "Service", "ipFamilyPolicy", ["SingleStack", "RequireDualStack"], "Dual"),
        ("v1", "Service", "type", ["NodePort", "ExternalName", "LoadBalancer"], "Loadbalancer"),
        ("v1", "PersistentVolumeClaim", "volumeMode", ["Block", "Filesystem"], "File"),
        ("v1", "PersistentVolume", "volumeMode", ["Block", "Filesystem"], "File"),
        ("v1", "PersistentVolume", "persistentVolumeReclaimPolicy", ["Retain", "Delete"], "Keep"),
        ("batch/v1", "CronJob", "concurrencyPolicy", ["Allow", "Forbid", "Replace"], "Deny"),
        ("apps/v1", "StatefulSet", "replicas", [0, 3], -1),
        (
            "v1",
            "PersistentVolume",
            "accessModes",
            [["ReadWriteOnce", "ReadOnlyMany"], ["ReadWriteMany"], ["ReadWriteOncePod"]],
            ["RWX"],
        ),
        (
            "apps/v1",
            "DaemonSet",
            "updateStrategy",
            [{"type": "RollingUpdate"}, {"type": "OnDelete"}],
            {"type": "Recreate"},
        ),
    ],
)
def test_a_field_has_the_values_that_there_are(
    api_version: str, kind: str, field: str, right: list[Any], wrong: Any
) -> None:
    def about_the_field(value: Any) -> list[str]:
        resource = {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "it"},
            "spec": {field: value},
        }
        return [str(each) for each in faults_of(resource) if each.field.startswith(f"spec.{field}")]

    assert [fault for value in right for fault in about_the_field(value)] == []
    assert len(about_the_field(wrong)) == 1


def test_a_class_of_storage_keeps_or_deletes_its_volumes() -> None:
    assert faults_of(sample("StorageClass", lambda it: it.update(reclaimPolicy="Retain"))) == []
    (fault,) = faults_of(sample("StorageClass", lambda it: it.update(reclaimPolicy="Keep")))
    assert fault.field == "reclaimPolicy"


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"])
def test_every_workload_selects_its_own_pods(kind: str) -> None:
    def workload(app: str) -> Resource:
        resource = sample("StatefulSet", lambda it: it.update(kind=kind))
        spec = {each: resource["spec"][each] for each in ("selector", "template")}
        spec["selector"] = {"matchLabels": {"app": app}}
        return {**resource, "spec": spec}

    selector = [
        [fault.field for fault in faults_of(workload(app)) if fault.rule == "selector"]
        for app in ("store", "other")
    ]
    assert selector == [[], ["spec.selector.matchLabels"]]


def test_every_mistake_is_reported_at_once() -> None:
    broken = sample("Deployment", lambda it: container(it).update(imag="x", ports="8080"))
    found = {fault.field for fault in faults_of(broken)}
    where = "spec.template.spec.containers[0]"
    assert found == {f"{where}.imag", f"{where}.ports"}


def test_what_the_schema_refuses_hides_no_other_rule() -> None:
    def change(it: Resource) -> None:
        it["metadata"]["name"] = "My Agent"
        it["spec"].update(replicas="two")
        it["spec"]["selector"]["matchLabels"].update(app="other")

    found = {fault.field for fault in faults_of(sample("Deployment", change))}
    assert found == {"metadata.name", "spec.replicas", "spec.selector.matchLabels"}


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("other", [None, "text", 1, [], [1], {}, {"name": 1}], ids=repr)
def test_nothing_is_too_broken_to_be_checked(kind: str, other: Any) -> None:
    for path in places(sample(kind)):
        broken = sample(kind)
        inner: Any = broken
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = other
        assert all(fault.says for fault in faults_of(broken))


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a resource but its kind."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        if key not in ("apiVersion", "kind"):
            yield (key,)
            if isinstance(item, dict | list):
                yield from ((key, *path) for path in places(item))
