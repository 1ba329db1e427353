"""The pods of a runtime, and what scales them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contract.template import (
    AGENT_COMPONENT,
    AGENT_CONTAINER,
    APP_LABEL,
    APP_LABEL_VALUE,
    COMPONENT_LABEL,
    RUNTIME_LABEL,
)
from .node_pool import GPU_RESOURCE
from .scaling import Scaling

HEALTH_PORT = 8080
MODEL_CACHE_DIRECTORY = "/var/cache/models"

_USER = 10_001
_TEMPORARY_DIRECTORY = "/tmp"
_TEMPORARY_GIBIBYTES = 4
_POLLING_SECONDS = 10
_FAILED_READS_BEFORE_FALLBACK = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """The Kubernetes resources of one runtime in its namespace.

    Attributes:
        name: The runtime's name; every resource has it.
        namespace: Namespace of all of them.
    """

    name: str
    namespace: str

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every resource; the Deployment selects its pods by them."""
        return {
            APP_LABEL: APP_LABEL_VALUE,
            COMPONENT_LABEL: AGENT_COMPONENT,
            RUNTIME_LABEL: self.name,
        }

    def _metadata(self) -> dict[str, Any]:
        return {"name": self.name, "namespace": self.namespace, "labels": self.labels}

    def service_account(self) -> dict[str, Any]:
        """Return the ServiceAccount; its AWS role comes by EKS Pod Identity."""
        return {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": self._metadata(),
            "automountServiceAccountToken": False,
        }

    def deployment(
        self,
        *,
        image: str,
        environment: Mapping[str, str],
        grace_seconds: int,
        model_cache_limit_gibibytes: int,
    ) -> dict[str, Any]:
        """Return the Deployment.

        It has no `replicas`: KEDA sets them, and each deployment would set them back. Kubernetes
        therefore starts with one pod, which KEDA takes away at once if there is nothing to do.

        Args:
            image: Container image.
            environment: Environment variables of the agent.
            grace_seconds: Time for a pod to end its work.
            model_cache_limit_gibibytes: Size at which Kubernetes would evict the pod.
        """
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self._metadata(),
            "spec": {
                "selector": {"matchLabels": self.labels},
                # A surge would launch a second GPU node for each pod that is replaced.
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
                },
                "template": {
                    "metadata": {"labels": self.labels},
                    "spec": {
                        "serviceAccountName": self.name,
                        "automountServiceAccountToken": False,
                        "terminationGracePeriodSeconds": grace_seconds,
                        "nodeSelector": {RUNTIME_LABEL: self.name},
                        "tolerations": [
                            {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
                            {
                                "key": RUNTIME_LABEL,
                                "operator": "Equal",
                                "value": self.name,
                                "effect": "NoSchedule",
                            },
                        ],
                        "securityContext": {
                            "runAsNonRoot": True,
                            "runAsUser": _USER,
                            "runAsGroup": _USER,
                            "fsGroup": _USER,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [
                            self._agent(
                                image=image,
                                environment=environment,
                                local_disk_gibibytes=model_cache_limit_gibibytes
                                + _TEMPORARY_GIBIBYTES,
                            )
                        ],
                        "volumes": [
                            _scratch("model-cache", gibibytes=model_cache_limit_gibibytes),
                            _scratch("temporary", gibibytes=_TEMPORARY_GIBIBYTES),
                        ],
                    },
                },
            },
        }

    def _agent(
        self, *, image: str, environment: Mapping[str, str], local_disk_gibibytes: int
    ) -> dict[str, Any]:
        return {
            "name": AGENT_CONTAINER,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "env": [
                {"name": name, "value": value}
                # Libraries keep caches in the home directory, and the root is read-only.
                for name, value in {**environment, "HOME": _TEMPORARY_DIRECTORY}.items()
            ],
            "ports": [{"name": "health", "containerPort": HEALTH_PORT}],
            # The agent answers at once; what takes long, loading models, is in /readyz.
            "startupProbe": _probe("/livez", period_seconds=2, failures=60),
            "livenessProbe": _probe("/livez", period_seconds=10, failures=3),
            "readinessProbe": _probe("/readyz", period_seconds=5, failures=1),
            "resources": {
                # Fits the smallest instances, 4 vCPU and 16 GiB, beside what runs on every node.
                # No memory limit: the node is the pod's own, and its memory caches models.
                "requests": {
                    "cpu": "2",
                    "memory": "10Gi",
                    "ephemeral-storage": f"{local_disk_gibibytes}Gi",
                },
                "limits": {GPU_RESOURCE: "1"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "model-cache", "mountPath": MODEL_CACHE_DIRECTORY},
                {"name": "temporary", "mountPath": _TEMPORARY_DIRECTORY},
            ],
        }

    def trigger_authentication(self) -> dict[str, Any]:
        """Return the TriggerAuthentication: KEDA reads the queue with its operator's own role."""
        return {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "TriggerAuthentication",
            "metadata": self._metadata(),
            "spec": {"podIdentity": {"provider": "aws"}},
        }

    def scaled_object(self, *, scaling: Scaling, queue_url: str, region: str) -> dict[str, Any]:
        """Return the ScaledObject.

        Args:
            scaling: How to follow the queue.
            queue_url: The queue.
            region: Its region.
        """
        return {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": self._metadata(),
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": self.name,
                },
                "pollingInterval": _POLLING_SECONDS,
                "cooldownPeriod": scaling.cooldown_seconds,
                "minReplicaCount": scaling.min_replicas,
                "maxReplicaCount": scaling.max_replicas,
                # While the queue cannot be read, busy pods stay and no GPU is launched blindly.
                "fallback": {
                    "failureThreshold": _FAILED_READS_BEFORE_FALLBACK,
                    "replicas": scaling.min_replicas,
                    "behavior": "currentReplicasIfHigher",
                },
                "advanced": {
                    "horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": _slowly(scaling)}}
                },
                "triggers": [
                    {
                        "type": "aws-sqs-queue",
                        "authenticationRef": {"name": self.name},
                        # KEDA takes only strings here.
                        "metadata": {
                            "queueURL": queue_url,
                            "awsRegion": region,
                            "queueLength": str(scaling.tasks_per_replica),
                            "activationQueueLength": "0",
                            # Tasks that are being drawn count, so that their pods stay.
                            "scaleOnInFlight": "true",
                        },
                    }
                ],
            },
        }


def _slowly(scaling: Scaling) -> dict[str, Any]:
    """Return how pods are taken away: after a while, half of them a minute."""
    return {
        "stabilizationWindowSeconds": scaling.scale_down_stabilization_seconds,
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
    }


def _scratch(name: str, *, gibibytes: int) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"sizeLimit": f"{gibibytes}Gi"}}


def _probe(path: str, *, period_seconds: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": HEALTH_PORT},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
