"""The Karpenter resources of a runtime: what its nodes are, and when there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..cluster.versions import VERSIONS
from ..contract.template import RUNTIME_LABEL
from .gpu_nodes import GpuNodes

GPU_RESOURCE = "nvidia.com/gpu"


def node_class(
    name: str,
    *,
    nodes: GpuNodes,
    instance_profile: str,
    subnet_ids: Sequence[str],
    security_group_id: str,
) -> dict[str, Any]:
    """Return the EC2NodeClass of a runtime.

    Args:
        name: The runtime's name.
        nodes: What the nodes must be.
        instance_profile: Instance profile of the nodes.
        subnet_ids: Subnets to launch them in.
        security_group_id: Their security group.
    """
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": name},
        "spec": {
            # Karpenter takes the variant with the NVIDIA driver and device plugin by itself.
            "amiSelectorTerms": [{"alias": f"bottlerocket@v{VERSIONS.bottlerocket}"}],
            "instanceProfile": instance_profile,
            "subnetSelectorTerms": [{"id": subnet_id} for subnet_id in subnet_ids],
            "securityGroupSelectorTerms": [{"id": security_group_id}],
            "metadataOptions": {
                "httpEndpoint": "enabled",
                "httpProtocolIPv6": "disabled",
                # One hop: the node itself, and no pod, reaches the node's credentials.
                "httpPutResponseHopLimit": 1,
                "httpTokens": "required",
            },
            "tags": {RUNTIME_LABEL: name},
            **nodes.image_start._node_class_fields(),
        },
    }


def node_pool(
    name: str,
    *,
    nodes: GpuNodes,
    max_gpus: int,
    local_disk_gibibytes: int,
    grace_seconds: int,
) -> dict[str, Any]:
    """Return the NodePool of a runtime.

    Args:
        name: The runtime's name.
        nodes: What the nodes must be.
        max_gpus: Most GPUs at a time.
        local_disk_gibibytes: Local disk that each must have.
        grace_seconds: Longest time for a node to be drained.
    """
    instance = "karpenter.k8s.aws/instance"
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "template": {
                "metadata": {"labels": {RUNTIME_LABEL: name}},
                "spec": {
                    "nodeClassRef": {
                        "group": "karpenter.k8s.aws",
                        "kind": "EC2NodeClass",
                        "name": name,
                    },
                    "taints": [
                        {"key": GPU_RESOURCE, "value": "true", "effect": "NoSchedule"},
                        {"key": RUNTIME_LABEL, "value": name, "effect": "NoSchedule"},
                    ],
                    "requirements": [
                        _requirement("karpenter.sh/capacity-type", *nodes.capacity.value),
                        _requirement("kubernetes.io/arch", "amd64"),
                        _requirement("kubernetes.io/os", "linux"),
                        _requirement(f"{instance}-family", *nodes.families),
                        _requirement(f"{instance}-gpu-manufacturer", "nvidia"),
                        _requirement(f"{instance}-gpu-count", "1"),
                        _requirement(
                            f"{instance}-gpu-memory",
                            str(nodes.min_gpu_memory_gibibytes * 1_024),
                            operator="Gte",
                        ),
                        _requirement(f"{instance}-cpu", str(nodes.max_vcpus), operator="Lte"),
                        _requirement(
                            f"{instance}-local-nvme", str(local_disk_gibibytes), operator="Gte"
                        ),
                    ],
                    "expireAfter": f"{nodes.expire_after_seconds}s",
                    "terminationGracePeriod": f"{grace_seconds}s",
                },
            },
            # The stop to the cost, whatever the scaler asks for.
            "limits": {GPU_RESOURCE: str(max_gpus)},
            "disruption": {
                # The other policies would move pods that are drawing to cheaper nodes.
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": f"{nodes.consolidate_after_seconds}s",
                "budgets": [
                    {"nodes": "100%", "reasons": ["Empty"]},
                    {"nodes": "1", "reasons": ["Drifted"]},
                ],
            },
        },
    }


def _requirement(key: str, *values: str, operator: str = "In") -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}
