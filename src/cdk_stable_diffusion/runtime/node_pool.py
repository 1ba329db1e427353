"""When a pool has nodes, and which."""

from __future__ import annotations

from typing import Any

from ..cluster import Compute
from .disk import DiskUse
from .gpu_nodes import GpuNodes
from .node_class import POOL_LABEL

GPU_RESOURCE = "nvidia.com/gpu"


def node_pool(
    name: str, *, compute: Compute, nodes: GpuNodes, max_gpus: int, use: DiskUse
) -> dict[str, Any]:
    """Return the NodePool of a pool.

    Args:
        name: The pool's name.
        compute: What launches the nodes.
        nodes: What they must be.
        max_gpus: Most GPUs at a time.
        use: What their pods need of a node's disk.
    """
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "template": {
                "metadata": {"labels": {POOL_LABEL: name}},
                "spec": {
                    "nodeClassRef": {
                        "group": compute.node_class_group,
                        "kind": compute.node_class_kind,
                        "name": name,
                    },
                    "taints": [
                        {"key": GPU_RESOURCE, "value": "true", "effect": "NoSchedule"},
                        {"key": POOL_LABEL, "value": name, "effect": "NoSchedule"},
                    ],
                    "requirements": _requirements(compute, nodes, use),
                    "expireAfter": f"{nodes.expire_after_seconds}s",
                    "terminationGracePeriod": f"{nodes.termination_grace_seconds}s",
                },
            },
            # The stop to the cost, whatever the scaler asks for.
            "limits": {GPU_RESOURCE: str(max_gpus)},
            "disruption": {
                # The other policies would move pods that are drawing to cheaper or fuller nodes.
                # With several pods to a node, too: a pod that is moved loses more than the idle
                # GPUs beside it cost until it ends.
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": f"{nodes.consolidate_after_seconds}s",
                "budgets": [budget._manifest() for budget in nodes.disruption_budgets],
            },
        },
    }


def _requirements(compute: Compute, nodes: GpuNodes, use: DiskUse) -> list[dict[str, Any]]:
    label = compute.instance_label
    requirements = [
        _one_of("karpenter.sh/capacity-type", *nodes.capacity.value),
        _one_of("kubernetes.io/arch", "amd64"),
        _one_of(label("family"), *nodes.families),
        _one_of(label("gpu-manufacturer"), "nvidia"),
        _one_of(label("gpu-count"), str(nodes.gpus_per_node)),
        _at_least(label("gpu-memory"), nodes.min_gpu_memory_gibibytes * 1_024),
        _at_most(label("cpu"), nodes.vcpu_limit),
        # No bare metal, which takes many minutes to start.
        _one_of(label("hypervisor"), "nitro"),
    ]
    if not compute.is_auto_mode:
        # Auto Mode has nothing but Linux, and does not support the label.
        requirements.append(_one_of("kubernetes.io/os", "linux"))
    if nodes.zones is not None:
        requirements.append(_one_of("topology.kubernetes.io/zone", *nodes.zones))
    if not nodes.image_start.is_snapshot:
        gigabytes = use.local_disk_gigabytes(pods=nodes.gpus_per_node)
        requirements.append(_at_least(label("local-nvme"), gigabytes))
    return requirements


def _one_of(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


# Gte and Lte are no older than Karpenter 1.9, and which version Auto Mode runs is not ours to
# choose; Gt and Lt every version knows. The values are whole numbers, so that they say the same.


def _at_least(key: str, value: int) -> dict[str, Any]:
    return {"key": key, "operator": "Gt", "values": [str(value - 1)]}


def _at_most(key: str, value: int) -> dict[str, Any]:
    return {"key": key, "operator": "Lt", "values": [str(value + 1)]}
