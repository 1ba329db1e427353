"""What the nodes of a pool are, to what launches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..cluster import Compute
from ..cluster.versions import VERSIONS
from .disk import DiskUse
from .gpu_nodes import GpuNodes

POOL_LABEL = "sd.runtime/pool"
"""Label, taint and tag of a pool's nodes; its value is the pool's name."""


def node_class(
    name: str,
    *,
    compute: Compute,
    nodes: GpuNodes,
    role: str,
    instance_profile: str | None,
    subnet_ids: Sequence[str],
    security_group_id: str,
    use: DiskUse,
) -> dict[str, Any]:
    """Return the node class of a pool: an EC2NodeClass, or EKS Auto Mode's NodeClass.

    Args:
        name: The pool's name.
        compute: What launches the nodes.
        nodes: What they must be.
        role: Name of their role.
        instance_profile: Name of their instance profile; None lets what launches them make one.
        subnet_ids: Subnets to launch them in.
        security_group_id: Their security group.
        use: What their pods need of a node's disk.
    """
    places = {
        "subnetSelectorTerms": [{"id": subnet_id} for subnet_id in subnet_ids],
        "securityGroupSelectorTerms": [{"id": security_group_id}],
    }
    return {
        "apiVersion": compute.node_class_api_version,
        "kind": compute.node_class_kind,
        "metadata": {"name": name},
        "spec": (
            _auto_mode(places, role=role, nodes=nodes, use=use)
            if compute.is_auto_mode
            else _karpenter(
                places,
                name=name,
                identity=(
                    {"role": role}
                    if instance_profile is None
                    else {"instanceProfile": instance_profile}
                ),
                nodes=nodes,
                use=use,
            )
        ),
    }


def _karpenter(
    places: dict[str, Any],
    *,
    name: str,
    identity: dict[str, str],
    nodes: GpuNodes,
    use: DiskUse,
) -> dict[str, Any]:
    return {
        # Karpenter takes the variant with the NVIDIA driver and device plugin by itself.
        "amiSelectorTerms": [{"alias": f"bottlerocket@v{VERSIONS.bottlerocket}"}],
        **identity,
        **places,
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpProtocolIPv6": "disabled",
            # One hop: the node itself, and no pod, reaches the node's credentials.
            "httpPutResponseHopLimit": 1,
            "httpTokens": "required",
        },
        "tags": {POOL_LABEL: name},
        **nodes.image_start._node_class_fields(pods=nodes.gpus_per_node, use=use),
    }


def _auto_mode(
    places: dict[str, Any], *, role: str, nodes: GpuNodes, use: DiskUse
) -> dict[str, Any]:
    """Return a NodeClass of EKS Auto Mode.

    AWS chooses the rest: Bottlerocket with the NVIDIA driver, a parallel pull to the local disks,
    encrypted volumes, and instance metadata that pods do not reach. It has no tags, since the
    policies of AWS for Auto Mode let it put none of a user's on instances: it could launch none.
    """
    return {
        "role": role,
        **places,
        # The namespace's NetworkPolicy denies what is not allowed; this default is for pods that
        # no policy speaks of, such as those of the system on the same node.
        "networkPolicy": "DefaultAllow",
        # Auto Mode makes an array of the local disks where they are larger than this, as the
        # NodePool requires, and goes by this size otherwise.
        "ephemeralStorage": {"size": f"{use.local_disk_gibibytes(pods=nodes.gpus_per_node)}Gi"},
    }
