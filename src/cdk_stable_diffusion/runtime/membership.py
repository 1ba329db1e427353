"""How the pods of a runtime with several lanes know of each other.

Each must know which others there are to know which lanes it is the home of. A headless Service
selects the pods, so that Kubernetes keeps the list of those that are ready, and the pods may read
the lists of their namespace. They may do nothing else in the cluster, and pods of other runtimes
have no token at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TOKEN_SECONDS = 3_600
_TOKEN_VOLUME = "kubernetes"
_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where every client of the API server looks for them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Membership:
    """The Kubernetes resources by which the pods of one runtime know of each other.

    Attributes:
        runtime_name: The runtime's name, which its service account has, too.
        namespace: Its namespace.
        labels: Labels of its pods.
        health_port: Port on which its pods say whether they are ready.
    """

    runtime_name: str
    namespace: str
    labels: Mapping[str, str]
    health_port: int

    @property
    def name(self) -> str:
        """Name of the resources: a Service's begins with a letter, and a runtime's need not."""
        return f"members-{self.runtime_name}"

    @property
    def service_name(self) -> str:
        """Namespace and name of the Service, as agents are told them."""
        return f"{self.namespace}/{self.name}"

    def _metadata(self) -> dict[str, Any]:
        return {"name": self.name, "namespace": self.namespace, "labels": dict(self.labels)}

    def service(self) -> dict[str, Any]:
        """Return the Service. Nobody connects to it: it only makes Kubernetes list the pods."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self._metadata(),
            "spec": {
                "clusterIP": "None",
                "selector": dict(self.labels),
                "ports": [{"name": "health", "port": self.health_port, "protocol": "TCP"}],
            },
        }

    def role(self) -> dict[str, Any]:
        """Return the Role: to read which pods are ready.

        Kubernetes makes up the names of the lists, and to list by a label cannot be allowed for
        one label only: it is for those of the namespace, which has only runtimes.
        """
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": self._metadata(),
            "rules": [
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list"],
                }
            ],
        }

    def role_binding(self) -> dict[str, Any]:
        """Return the RoleBinding of the runtime's service account."""
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": self._metadata(),
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": self.name,
            },
            "subjects": [
                {
                    "kind": "ServiceAccount",
                    "name": self.runtime_name,
                    "namespace": self.namespace,
                }
            ],
        }

    @property
    def volume(self) -> dict[str, Any]:
        """The volume with a token for the API server and what the server is known by."""
        return {
            "name": _TOKEN_VOLUME,
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
                    {
                        "configMap": {
                            "name": "kube-root-ca.crt",
                            "items": [{"key": "ca.crt", "path": "ca.crt"}],
                        }
                    },
                ]
            },
        }

    @property
    def mount(self) -> dict[str, Any]:
        """Where the agent has it; an engine in a container of its own has not."""
        return {"name": _TOKEN_VOLUME, "mountPath": _TOKEN_DIRECTORY, "readOnly": True}
