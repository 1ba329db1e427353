"""The pods of a runtime, and what scales them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..cluster import Priority
from ..contract.template import (
    AGENT_COMPONENT,
    AGENT_CONTAINER,
    APP_LABEL,
    APP_LABEL_VALUE,
    COMPONENT_LABEL,
    RUNTIME_LABEL,
)
from .disk import TEMPORARY_GIBIBYTES, DiskUse
from .engine_container import EngineContainer
from .membership import Membership
from .model_cache import AGENT_GIBIBYTES, ModelCache
from .node_class import POOL_LABEL
from .node_pool import GPU_RESOURCE
from .scaling import Scaling

HEALTH_PORT = 8080
MODEL_CACHE_DIRECTORY = "/var/cache/models"

_MODEL_CACHE_MOUNT = {"name": "model-cache", "mountPath": MODEL_CACHE_DIRECTORY}
_USER = 10_001
_TEMPORARY_DIRECTORY = "/tmp"
_POLLING_SECONDS = 10
_AGENT_BESIDE_ENGINE_GIBIBYTES = 2
_MOST_UNAVAILABLE = "25%"


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

    @property
    def membership(self) -> Membership:
        """How its pods know of each other."""
        return Membership(
            runtime_name=self.name,
            namespace=self.namespace,
            labels=self.labels,
            health_port=HEALTH_PORT,
        )

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
        pool: str,
        priority: Priority,
        grace_seconds: int,
        use: DiskUse,
        cache: ModelCache,
        engine: EngineContainer | None = None,
        membership: Membership | None = None,
    ) -> dict[str, Any]:
        """Return the Deployment.

        It has no `replicas`: KEDA sets them, and each deployment would set them back. Kubernetes
        therefore starts with one pod, which KEDA takes away as soon as it knows the runtime if
        there is nothing to do. A node may have been launched for it by then, and ends in turn.

        Args:
            image: Container image.
            environment: Environment variables of the agent.
            pool: Name of the pool whose nodes it runs on.
            priority: Which pods go first where there are too few GPUs.
            grace_seconds: Time for a pod to end its work.
            use: What it needs of its node's disk.
            cache: What it keeps of models in its node's memory.
            engine: The engine's container. Default: the agent has its own.
            membership: How its pods know of each other. Default: they need not.
        """
        pod: dict[str, Any] = {"labels": self.labels}
        containers: dict[str, Any] = {
            "containers": [
                self._agent(
                    image=image,
                    environment=environment,
                    use=use,
                    cache=cache,
                    engine=engine,
                    membership=membership,
                )
            ],
        }
        if engine is not None:
            pod["annotations"] = engine.annotations
            containers["initContainers"] = [engine.container(model_cache=_MODEL_CACHE_MOUNT)]
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
                    "metadata": pod,
                    "spec": {
                        "serviceAccountName": self.name,
                        "automountServiceAccountToken": False,
                        # No variables with the addresses of services, which the agent never calls.
                        "enableServiceLinks": False,
                        "priorityClassName": priority.class_name,
                        "terminationGracePeriodSeconds": grace_seconds,
                        "nodeSelector": {POOL_LABEL: pool},
                        "tolerations": [
                            {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
                            {
                                "key": POOL_LABEL,
                                "operator": "Equal",
                                "value": pool,
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
                        **containers,
                        "volumes": [
                            _scratch("model-cache", gibibytes=use.cache_limit_gibibytes),
                            _scratch("temporary", gibibytes=TEMPORARY_GIBIBYTES),
                            *([] if engine is None else [engine.volume]),
                            *([] if membership is None else [membership.volume]),
                        ],
                    },
                },
            },
        }

    def _agent(
        self,
        *,
        image: str,
        environment: Mapping[str, str],
        use: DiskUse,
        cache: ModelCache,
        engine: EngineContainer | None,
        membership: Membership | None,
    ) -> dict[str, Any]:
        memory = AGENT_GIBIBYTES if engine is None else _AGENT_BESIDE_ENGINE_GIBIBYTES
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
                # Fits the smallest instances, 4 vCPU and 16 GiB, beside what runs on every node;
                # those with several GPUs have more for each. No memory limit: what is left on the
                # node caches the files of models, and is given back when a pod needs it.
                # With an engine in a container of its own, both together ask for the same. What
                # models may keep of the memory comes on top.
                "requests": {
                    "cpu": "2" if engine is None else "500m",
                    "memory": f"{memory + cache.memory_gibibytes}Gi",
                    "ephemeral-storage": f"{use.agent_gibibytes}Gi",
                },
                **({"limits": {GPU_RESOURCE: "1"}} if engine is None else {}),
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                _MODEL_CACHE_MOUNT,
                {"name": "temporary", "mountPath": _TEMPORARY_DIRECTORY},
                *([] if engine is None else [engine.agent_mount]),
                *([] if membership is None else [membership.mount]),
            ],
        }

    def pod_disruption_budget(self) -> dict[str, Any]:
        """Return the PodDisruptionBudget: a quarter of the pods may be evicted at a time.

        Only for on-demand nodes. There it keeps pods running while many nodes are drained at once,
        such as those of one burst, which all expire at the same time. A spot instance goes two
        minutes after its notice, whatever the budget: to hold back the notice from its pod would
        only take from the time that the pod has to finish.
        """
        return {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": self._metadata(),
            "spec": {
                "selector": {"matchLabels": self.labels},
                "maxUnavailable": _MOST_UNAVAILABLE,
                # A pod that still loads its models, or never will, holds no node back.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }

    def trigger_authentication(self) -> dict[str, Any]:
        """Return the TriggerAuthentication: KEDA reads the queue with its operator's own role."""
        return {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "TriggerAuthentication",
            "metadata": self._metadata(),
            "spec": {"podIdentity": {"provider": "aws"}},
        }

    def scaled_object(
        self,
        *,
        scaling: Scaling,
        queue_urls: Sequence[str],
        region: str,
        overflow_queue_url: str | None = None,
    ) -> dict[str, Any]:
        """Return the ScaledObject.

        It has no `fallback`. While a queue cannot be read, the number of pods stays as it is
        without one; with one of no replicas, KEDA takes the read that failed for an empty queue,
        and ends all pods after the cooldown.

        Args:
            scaling: How to follow the queues.
            queue_urls: The queue of each lane.
            region: Their region.
            overflow_queue_url: Where what is passed on waits. Default: there is one lane.
        """
        queues = {f"lane{lane}": url for lane, url in enumerate(queue_urls)}
        if overflow_queue_url is not None:
            queues["overflow"] = overflow_queue_url
        triggers: list[dict[str, Any]] = [
            {
                # A formula knows them by their names; a single one needs none.
                **({"name": name} if len(queues) > 1 else {}),
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
            for name, queue_url in queues.items()
        ]
        advanced: dict[str, Any] = {
            "horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": _slowly(scaling)}}
        }
        if len(queues) > 1:
            # Without it, KEDA would follow the longest queue alone.
            advanced["scalingModifiers"] = {
                "formula": " + ".join(queues),
                "target": str(scaling.tasks_per_replica),
                "activationTarget": "0",
                "metricType": "AverageValue",
            }
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
                "advanced": advanced,
                "triggers": triggers,
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
