"""Findings of cdk-nag on what `aws_eks_v2` makes and lets nobody change."""

from __future__ import annotations

from aws_cdk import CfnElement, Stack
from aws_cdk import aws_eks_v2 as eks

from .._acknowledge import acknowledge

_MANAGED = "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{}]"


def acknowledge_kubectl_provider(cluster: eks.Cluster) -> None:
    """Acknowledge the findings on a cluster's role and on the functions that run kubectl.

    Args:
        cluster: A cluster with a kubectl provider.
    """
    acknowledge(
        cluster,
        {
            _MANAGED.format("AmazonEKSClusterPolicy"): (
                "EKS requires this policy on the role of its control plane."
            )
        },
    )
    provider = cluster.node.find_child("KubectlProvider")
    handler = provider.node.find_child("Handler")
    function = handler.node.default_child
    public_registry = handler.node.find_child("HasEcrPublic")
    assert isinstance(function, CfnElement)
    assert isinstance(public_registry, CfnElement)
    stack = Stack.of(cluster)
    function_id = stack.get_logical_id(function)
    condition_id = stack.get_logical_id(public_registry)
    role_reason = (
        "AWS CDK gives the functions that run kubectl and Helm these policies: to write their "
        "logs, to be in the VPC, and to read charts from registries. It offers no other."
    )
    acknowledge(
        provider,
        {
            "AwsSolutions-L1": "AWS CDK chooses the Python version that its own handler is tested "
            "with.",
            _MANAGED.format("service-role/AWSLambdaBasicExecutionRole"): role_reason,
            _MANAGED.format("service-role/AWSLambdaVPCAccessExecutionRole"): role_reason,
            _MANAGED.format("AmazonEC2ContainerRegistryReadOnly"): role_reason,
            (
                f'AwsSolutions-IAM4[Policy::{{"Fn::If":["{condition_id}",{{"Fn::Join":["",["arn:",'
                '{"Ref":"AWS::Partition"},":iam::aws:policy/'
                'AmazonElasticContainerRegistryPublicReadOnly"]]},{"Ref":"AWS::NoValue"}]}]'
            ): role_reason,
            f"AwsSolutions-IAM5[Resource::<{function_id}.Arn>:*]": (
                "The provider framework of AWS CDK may invoke any version of the one function "
                "that it is made for."
            ),
        },
    )
