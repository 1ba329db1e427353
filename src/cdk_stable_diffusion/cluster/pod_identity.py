"""AWS permissions for pods, by EKS Pod Identity."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from .interface import AnyCluster


def pod_role(
    scope: Construct,
    id: str,
    *,
    description: str,
    managed_policies: Sequence[iam.IManagedPolicy] = (),
) -> iam.Role:
    """Make a role that EKS Pod Identity can hand to pods.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        description: What the role is for.
        managed_policies: Policies to attach.

    Returns:
        The role.
    """
    return iam.Role(
        scope,
        id,
        # Pod Identity passes the cluster, namespace and service account as session tags.
        assumed_by=iam.ServicePrincipal("pods.eks.amazonaws.com").with_session_tags(),
        description=description,
        managed_policies=list(managed_policies),
    )


def associate_role(
    scope: Construct,
    id: str,
    *,
    cluster: AnyCluster,
    namespace: str,
    service_account: str,
    role: iam.IRole,
) -> eks.CfnPodIdentityAssociation:
    """Give a role to the pods of a service account.

    A pod gets the role only if the association exists when the pod is made, so what makes the pod
    must depend on the association.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        cluster: Cluster of the pods.
        namespace: Namespace of the service account.
        service_account: Name of the service account.
        role: Role for the pods.

    Returns:
        The association.
    """
    return eks.CfnPodIdentityAssociation(
        scope,
        id,
        cluster_name=cluster.cluster_name,
        namespace=namespace,
        service_account=service_account,
        role_arn=role.role_arn,
    )
