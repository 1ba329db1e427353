"""What the API server checks of Kubernetes' own kinds in code, so that their schemas lack it.

Only what is often mistaken, and has been the same for years, is here: values out of a short list,
ports, quantities, the form of labels, and that a pod has a container.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _choice(*values: str) -> dict[str, Any]:
    """Return the limit of a field that has a default, which "" stands for, too."""
    return {"enum": [*values, ""]}


_ACCESS_MODES = {
    "items": {"enum": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]}
}
_PORT = {"minimum": 1, "maximum": 65_535}
_PROTOCOL = _choice("TCP", "UDP", "SCTP")
_NOT_NEGATIVE = {"minimum": 0}
_EFFECT = {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]}
_PREEMPTION = {"enum": ["Never", "PreemptLowerPriority"]}
_TRAFFIC_POLICIES = ("Cluster", "Local")
_VOLUME_MODE = {"enum": ["Block", "Filesystem"]}
_SELECTOR_OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"]

_LABEL_KEY = (
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_LABELS = {
    "propertyNames": {"pattern": _LABEL_KEY},
    "additionalProperties": {"pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"},
}

_LIMITS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector": {"matchLabels": _LABELS},
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement": {
        "operator": {"enum": _SELECTOR_OPERATORS}
    },
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
        "annotations": {"propertyNames": {"pattern": _LABEL_KEY}},
        "labels": _LABELS,
    },
    "io.k8s.api.apps.v1.DaemonSetUpdateStrategy": {"type": _choice("RollingUpdate", "OnDelete")},
    "io.k8s.api.apps.v1.DeploymentSpec": {"replicas": _NOT_NEGATIVE},
    "io.k8s.api.apps.v1.DeploymentStrategy": {"type": _choice("RollingUpdate", "Recreate")},
    "io.k8s.api.apps.v1.StatefulSetSpec": {
        "podManagementPolicy": _choice("OrderedReady", "Parallel"),
        "replicas": _NOT_NEGATIVE,
    },
    "io.k8s.api.apps.v1.StatefulSetUpdateStrategy": {"type": _choice("RollingUpdate", "OnDelete")},
    "io.k8s.api.batch.v1.CronJobSpec": {"concurrencyPolicy": _choice("Allow", "Forbid", "Replace")},
    "io.k8s.api.core.v1.Container": {"imagePullPolicy": _choice("Always", "Never", "IfNotPresent")},
    "io.k8s.api.core.v1.ContainerPort": {
        "containerPort": _PORT,
        "hostPort": _PORT,
        "protocol": _PROTOCOL,
    },
    "io.k8s.api.core.v1.GRPCAction": {"port": _PORT},
    "io.k8s.api.core.v1.HTTPGetAction": {"port": _PORT, "scheme": _choice("HTTP", "HTTPS")},
    "io.k8s.api.core.v1.NodeSelectorRequirement": {
        "operator": {"enum": [*_SELECTOR_OPERATORS, "Gt", "Lt"]}
    },
    "io.k8s.api.core.v1.PersistentVolumeClaimSpec": {
        "accessModes": _ACCESS_MODES,
        "volumeMode": _VOLUME_MODE,
    },
    "io.k8s.api.core.v1.PersistentVolumeSpec": {
        "accessModes": _ACCESS_MODES,
        "persistentVolumeReclaimPolicy": _choice("Retain", "Recycle", "Delete"),
        "volumeMode": _VOLUME_MODE,
    },
    "io.k8s.api.core.v1.PodSpec": {
        "containers": {"minItems": 1},
        "dnsPolicy": _choice("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
        "nodeSelector": _LABELS,
        "preemptionPolicy": _PREEMPTION,
        "restartPolicy": _choice("Always", "OnFailure", "Never"),
        "terminationGracePeriodSeconds": _NOT_NEGATIVE,
    },
    "io.k8s.api.core.v1.Probe": {
        "failureThreshold": _NOT_NEGATIVE,
        "initialDelaySeconds": _NOT_NEGATIVE,
        "periodSeconds": _NOT_NEGATIVE,
        "successThreshold": _NOT_NEGATIVE,
        "timeoutSeconds": _NOT_NEGATIVE,
    },
    "io.k8s.api.core.v1.SeccompProfile": {
        "type": {"enum": ["Localhost", "RuntimeDefault", "Unconfined"]}
    },
    "io.k8s.api.core.v1.ServicePort": {
        "nodePort": _PORT,
        "port": _PORT,
        "protocol": _PROTOCOL,
        "targetPort": _PORT,
    },
    "io.k8s.api.core.v1.ServiceSpec": {
        "externalTrafficPolicy": _choice(*_TRAFFIC_POLICIES),
        "internalTrafficPolicy": {"enum": [*_TRAFFIC_POLICIES]},
        "ipFamilyPolicy": {"enum": ["SingleStack", "PreferDualStack", "RequireDualStack"]},
        "sessionAffinity": _choice("ClientIP", "None"),
        "type": _choice("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
    },
    "io.k8s.api.core.v1.TCPSocketAction": {"port": _PORT},
    "io.k8s.api.core.v1.Taint": {"effect": _EFFECT},
    "io.k8s.api.core.v1.Toleration": {
        "effect": {"enum": [*_EFFECT["enum"], "", None]},
        "operator": {"enum": ["Exists", "Equal", "Lt", "Gt", "", None]},
    },
    "io.k8s.api.core.v1.TopologySpreadConstraint": {
        "maxSkew": {"minimum": 1},
        "whenUnsatisfiable": {"enum": ["DoNotSchedule", "ScheduleAnyway"]},
    },
    "io.k8s.api.networking.v1.HTTPIngressPath": {
        "pathType": {"enum": ["Exact", "Prefix", "ImplementationSpecific"]}
    },
    "io.k8s.api.networking.v1.NetworkPolicyPort": {
        "endPort": _PORT,
        "port": _PORT,
        "protocol": _PROTOCOL,
    },
    "io.k8s.api.networking.v1.NetworkPolicySpec": {
        "policyTypes": {"items": {"enum": ["Ingress", "Egress"]}}
    },
    "io.k8s.api.scheduling.v1.PriorityClass": {
        "preemptionPolicy": _PREEMPTION,
        # Higher ones are for the system's own classes.
        "value": {"minimum": -2_147_483_648, "maximum": 1_000_000_000},
    },
    "io.k8s.api.storage.v1.StorageClass": {
        "reclaimPolicy": {"enum": ["Delete", "Retain"]},
        "volumeBindingMode": {"enum": ["Immediate", "WaitForFirstConsumer"]},
    },
}

_WHOLE_DEFINITIONS: Mapping[str, Mapping[str, Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "pattern": r"^[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$"
    }
}


def with_limits(definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definitions of Kubernetes' own kinds with what the API server checks besides.

    Args:
        definitions: The definitions as Kubernetes publishes them, by name.

    Raises:
        ValueError: If a definition or field is not there.
    """
    result = dict(definitions)
    for name, fields in _LIMITS.items():
        properties = dict(definitions[name]["properties"])
        for field, limit in fields.items():
            if field not in properties:
                raise ValueError(f"{name} has no {field}")
            properties[field] = {"allOf": [properties[field], limit]}
        result[name] = {**definitions[name], "properties": properties}
    for name, limit in _WHOLE_DEFINITIONS.items():
        result[name] = {**definitions[name], **limit}
    return result
