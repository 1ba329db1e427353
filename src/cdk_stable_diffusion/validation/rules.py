"""Rules that no schema has: what the API server, KEDA or a node would refuse, or ignore.

| rule | what it finds |
|---|---|
| `selector` | a workload whose selector does not match its own pods |
| `volume` | a container that mounts a volume which its pod does not have |
| `extended-resource` | a request for GPUs without a limit, or with another one |
| `disruption-budget` | a PodDisruptionBudget with both, or neither, of its two bounds |
| `rolling-update` | a rolling update that may neither add nor take away a pod |
| `snapshot-with-soci` | images on a snapshot, which Bottlerocket removes for another snapshotter |
| `snapshot-with-raid0` | images on a snapshot, which an array of the local disks would hide |
| `node-labels` | a NodePool that requires labels which nodes of its node class do not have |
| `sqs-trigger` | settings of an SQS trigger that KEDA does not know, and so leaves out |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from .fault import Fault
from .token import has_token, holds_token, is_untyped, readable

Resource = Mapping[str, Any]

_SOCI = re.compile(r"^\s*(settings\.container-runtime\.)?snapshotter\s*=\s*[\"']soci[\"']", re.M)

_LABEL_DOMAINS = {
    "eks.amazonaws.com": "karpenter.k8s.aws",
    "karpenter.k8s.aws": "eks.amazonaws.com",
}
"""API group of a node class, and the domain of the labels that only the other's nodes have."""

_SQS_SETTINGS = {
    "queueURL": "text",
    "queueURLFromEnv": "text",
    "queueLength": "whole number",
    "activationQueueLength": "whole number",
    "awsRegion": "text",
    "awsEndpoint": "text",
    "scaleOnInFlight": "true or false",
    "scaleOnDelayed": "true or false",
    "identityOwner": "text",
    "awsAccessKeyID": "text",
    "awsAccessKeyIDFromEnv": "text",
    "awsSecretAccessKey": "text",
    "awsSecretAccessKeyFromEnv": "text",
    "awsSessionToken": "text",
    "awsSessionTokenFromEnv": "text",
    "awsRoleArn": "text",
}
_FORMS = {"whole number": r"\d+", "true or false": "true|false"}


def own_rule_faults(resource: Resource) -> Iterator[Fault]:
    """Yield what the rules of this module refuse in a resource.

    Args:
        resource: The resource, which its schema need not accept.
    """
    for check in _CHECKS.get((_group(resource["apiVersion"]), resource["kind"]), ()):
        yield from check(resource)


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _selector(workload: Resource) -> Iterator[Fault]:
    selector = _get(workload, "spec", "selector")
    where = ("spec", "template", "metadata", "labels")
    labels = _map(workload, *where)
    if is_untyped(_get(workload, *where)) or any(map(has_token, labels)):
        return
    for name, value in _map(selector, "matchLabels").items():
        found = labels.get(name)
        if found != value and not any(map(has_token, (name, value, found))):
            yield Fault(
                field="spec.selector.matchLabels",
                says=f"wants {name}={value}, which the labels in spec.template.metadata.labels "
                "do not have",
                rule="selector",
            )
    for index, requirement in enumerate(_list(selector, "matchExpressions")):
        if not _may_meet(labels, requirement):
            yield Fault(
                field=f"spec.selector.matchExpressions[{index}]",
                says="is not met by the labels in spec.template.metadata.labels",
                rule="selector",
            )


def _may_meet(labels: Mapping[str, Any], requirement: Any) -> bool:
    name, values = str(_get(requirement, "key")), _list(requirement, "values")
    if holds_token(requirement) or has_token(labels.get(name)):
        return True
    match _get(requirement, "operator"):
        case "In":
            return labels.get(name) in values
        case "NotIn":
            return labels.get(name) not in values
        case "Exists":
            return name in labels
        case "DoesNotExist":
            return name not in labels
    return True


def _volumes(workload: Resource) -> Iterator[Fault]:
    path, pod = _pod(workload)
    names = [
        _get(each, "name")
        for each in (
            *_list(pod, "volumes"),
            *_list(_get(workload, "spec"), "volumeClaimTemplates", "metadata"),
        )
    ]
    for field, container in _containers(path, pod):
        for index, mount in enumerate(_list(container, "volumeMounts")):
            name = _get(mount, "name")
            if name not in names and not any(map(has_token, (name, *names))):
                yield Fault(
                    field=f"{field}.volumeMounts[{index}].name",
                    says=f"is {name!r}: the pod has no such volume",
                    rule="volume",
                )


def _extended_resources(workload: Resource) -> Iterator[Fault]:
    path, pod = _pod(workload)
    for field, container in _containers(path, pod):
        if is_untyped(_get(container, "resources", "limits")):
            continue
        limits = _map(container, "resources", "limits")
        for name, amount in _map(container, "resources", "requests").items():
            # Kubernetes' own resources have no domain.
            if "/" in name and not has_token(amount) and not has_token(limits.get(name)):
                if str(limits.get(name)) != str(amount):
                    yield Fault(
                        field=f"{field}.resources.requests[{name!r}]",
                        says=f"is {amount}: the limit must be the same, and is {limits.get(name)}",
                        rule="extended-resource",
                    )


def _disruption_budget(budget: Resource) -> Iterator[Fault]:
    spec = _get(budget, "spec")
    bounds = [name for name in ("minAvailable", "maxUnavailable") if _get(spec, name) is not None]
    if len(bounds) != 1 and not is_untyped(spec):
        yield Fault(
            field="spec",
            says=f"has {' and '.join(bounds) or 'neither bound'}: one of minAvailable and "
            "maxUnavailable",
            rule="disruption-budget",
        )


def _rolling_update(deployment: Resource) -> Iterator[Fault]:
    update = _map(deployment, "spec", "strategy", "rollingUpdate")
    if all(update.get(name) in (0, "0%") for name in ("maxSurge", "maxUnavailable")):
        yield Fault(
            field="spec.strategy.rollingUpdate",
            says="has 0 for both maxSurge and maxUnavailable: no pod could ever be replaced",
            rule="rolling-update",
        )


def _snapshot(node_class: Resource) -> Iterator[Fault]:
    spec = _map(node_class, "spec")
    for index, mapping in enumerate(_list(spec, "blockDeviceMappings")):
        if _get(mapping, "ebs", "snapshotID") is None:
            continue
        field = f"spec.blockDeviceMappings[{index}].ebs.snapshotID"
        if _SOCI.search(str(readable(spec.get("userData", "")))):
            yield Fault(
                field=field,
                says='is given with snapshotter = "soci" in userData: Bottlerocket removes images '
                "that another snapshotter has unpacked",
                rule="snapshot-with-soci",
            )
        if spec.get("instanceStorePolicy") == "RAID0":
            yield Fault(
                field=field,
                says="is given with instanceStorePolicy RAID0: the array takes the place of the "
                "volume that has the images",
                rule="snapshot-with-raid0",
            )


def _node_labels(pool: Resource) -> Iterator[Fault]:
    template = _get(pool, "spec", "template", "spec")
    group = _get(template, "nodeClassRef", "group")
    other = _LABEL_DOMAINS.get(str(group))
    for index, requirement in enumerate(_list(template, "requirements")):
        key = str(_get(requirement, "key"))
        if other is not None and key.startswith(f"{other}/"):
            yield Fault(
                field=f"spec.template.spec.requirements[{index}].key",
                says=f"is {key!r}: nodes of a node class in {group} have no labels of {other}",
                rule="node-labels",
            )


def _sqs_triggers(scaled: Resource) -> Iterator[Fault]:
    for index, trigger in enumerate(_list(_get(scaled, "spec"), "triggers")):
        if _get(trigger, "type") != "aws-sqs-queue":
            continue
        settings = _map(trigger, "metadata")
        path = f"spec.triggers[{index}].metadata"
        for name, value in settings.items():
            kind = _SQS_SETTINGS.get(name)
            if kind is None:
                close = get_close_matches(name, _SQS_SETTINGS, n=1)
                meant = f"; did you mean {close[0]!r}?" if close else ""
                yield Fault(
                    field=f"{path}.{name}",
                    says=f"is no setting of an aws-sqs-queue trigger{meant}",
                    rule="sqs-trigger",
                )
            elif (
                kind in _FORMS
                and not has_token(value)
                and not re.fullmatch(_FORMS[kind], str(value))
            ):
                yield Fault(
                    field=f"{path}.{name}",
                    says=f"is {value!r}: must be a {kind} as text"
                    if kind == "whole number"
                    else f"is {value!r}: must be 'true' or 'false'",
                    rule="sqs-trigger",
                )
        if is_untyped(_get(trigger, "metadata")):
            continue
        if not {"queueURL", "queueURLFromEnv"} & settings.keys():
            yield Fault(
                field=f"{path}.queueURL",
                says="is missing: an aws-sqs-queue trigger needs its queue",
                rule="sqs-trigger",
            )


def _get(value: Any, *path: str) -> Any:
    """Return what is at a path in a resource, or None, or a stand-in for what is not known."""
    for name in path:
        if is_untyped(value):
            return value
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _map(value: Any, *path: str) -> Mapping[str, Any]:
    """Return the object at a path in a resource: empty where there is none, or it is not known."""
    found = _get(value, *path)
    return found if isinstance(found, Mapping) else {}


def _list(value: Any, *path: str) -> list[Any]:
    """Return the list at the first name of a path, and from each item what the others lead to."""
    found = _get(value, *path[:1])
    items = found if isinstance(found, list) else []
    return [_get(item, *path[1:]) for item in items]


def _pod(workload: Resource) -> tuple[str, Mapping[str, Any]]:
    """Return where the pod's specification is in a workload, and the specification."""
    if workload["kind"] == "Pod":
        path: tuple[str, ...] = ("spec",)
    elif workload["kind"] == "CronJob":
        path = ("spec", "jobTemplate", "spec", "template", "spec")
    else:
        path = ("spec", "template", "spec")
    return ".".join(path), _map(workload, *path)


def _containers(path: str, pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ("initContainers", "containers"):
        for index, container in enumerate(_list(pod, name)):
            if isinstance(container, Mapping):
                yield f"{path}.{name}[{index}]", container


_Check = Callable[[Resource], Iterator[Fault]]
_OF_PODS: tuple[_Check, ...] = (_volumes, _extended_resources)
_CHECKS: dict[tuple[str, str], tuple[_Check, ...]] = {
    ("", "Pod"): _OF_PODS,
    ("apps", "DaemonSet"): (_selector, *_OF_PODS),
    ("apps", "Deployment"): (_selector, _rolling_update, *_OF_PODS),
    ("apps", "ReplicaSet"): (_selector, *_OF_PODS),
    ("apps", "StatefulSet"): (_selector, *_OF_PODS),
    ("batch", "CronJob"): _OF_PODS,
    ("batch", "Job"): (_selector, *_OF_PODS),
    ("karpenter.k8s.aws", "EC2NodeClass"): (_snapshot,),
    ("karpenter.sh", "NodePool"): (_node_labels,),
    ("keda.sh", "ScaledObject"): (_sqs_triggers,),
    ("policy", "PodDisruptionBudget"): (_disruption_budget,),
}
