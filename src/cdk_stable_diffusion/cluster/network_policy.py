"""What the pods of runtimes may reach."""

from __future__ import annotations

from typing import Any

_LINK_LOCAL = "169.254.0.0/16"
_POD_IDENTITY_AGENT = "169.254.170.23/32"
_OUTSIDE = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [_LINK_LOCAL]}}
_CLUSTER_DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}

CONTROLLER_CONFIGURATION: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "amazon-vpc-cni", "namespace": "kube-system"},
    "data": {"enable-network-policy-controller": "true"},
}
"""Makes EKS Auto Mode apply network policies; elsewhere, the VPC CNI plugin's add-on does so."""


def runtime_policy(namespace: str, *, is_auto_mode: bool) -> dict[str, Any]:
    """Return the NetworkPolicy of all pods in the namespace of the runtimes.

    Nobody reaches them: the probes of the kubelet come from their own node, which no policy stops.
    They reach DNS, the agent that hands out their AWS credentials, and HTTPS, which every service
    of AWS speaks. They do not reach the metadata of their instance.

    Args:
        namespace: The namespace.
        is_auto_mode: Whether the cluster runs on EKS Auto Mode, where DNS is on the nodes, so that
            no pod can be named for it.
    """
    dns = _OUTSIDE if is_auto_mode else _CLUSTER_DNS
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "runtimes", "namespace": namespace},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [
                {"to": [dns], "ports": [_port(53, "UDP"), _port(53, "TCP")]},
                {"to": [{"ipBlock": {"cidr": _POD_IDENTITY_AGENT}}], "ports": [_port(80, "TCP")]},
                {"to": [_OUTSIDE], "ports": [_port(443, "TCP")]},
            ],
        },
    }


def _port(number: int, protocol: str) -> dict[str, Any]:
    return {"port": number, "protocol": protocol}
