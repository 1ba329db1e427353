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
    cluster: AnyCluster,
    namespace: str | None,
    service_account: str,
    description: str,
    managed_policies: Sequence[iam.IManagedPolicy] = (),
) -> iam.Role:
    """Make a role that EKS Pod Identity can hand to the pods of one service account.

    Pod Identity names the pod in session tags. The role asks for them, so that nobody who may make
    an association can hand it to other pods.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        cluster: Cluster of the pods.
        namespace: Namespace of the service account; None where an add-on chooses it.
        service_account: Name of the service account.
        description: What the role is for.
        managed_policies: Policies to attach.

    Returns:
        The role.
    """
    tags = {
        "eks-cluster-name": cluster.cluster_name,
        "kubernetes-service-account": service_account,
        **({} if namespace is None else {"kubernetes-namespace": namespace}),
    }
    pods = iam.ServicePrincipal(
        "pods.eks.amazonaws.com",
        conditions={
            "StringEquals": {f"aws:RequestTag/{name}": value for name, value in tags.items()}
        },
    )
    return iam.Role(
        scope,
        id,
        assumed_by=pods.with_session_tags(),
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
