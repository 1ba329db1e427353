"""Findings of cdk-nag on what `aws_eks_v2` makes and lets nobody change."""

from __future__ import annotations

from aws_cdk import CfnElement, Stack
from aws_cdk import aws_eks_v2 as eks

from .._acknowledge import acknowledge, acknowledge_own_policy

_MANAGED = "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{}]"


_CLUSTER_POLICIES = ("AmazonEKSClusterPolicy",)
_AUTO_MODE_CLUSTER_POLICIES = (
    "AmazonEKSComputePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingPolicy",
)


def acknowledge_kubectl_provider(cluster: eks.Cluster, *, is_auto_mode: bool) -> None:
    """Acknowledge the findings on a cluster's role and on the functions that run kubectl.

    Args:
        cluster: A cluster with a kubectl provider.
        is_auto_mode: Whether it runs on EKS Auto Mode.
    """
    acknowledge(
        cluster,
        {
            _MANAGED.format(policy): "EKS requires this policy on the role of its control plane."
            for policy in (
                *_CLUSTER_POLICIES,
                *(_AUTO_MODE_CLUSTER_POLICIES if is_auto_mode else ()),
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
    acknowledge_own_policy(provider)
    acknowledge(
        provider,
        {
            "NIST.800.53.R5-CloudWatchLogGroupEncrypted": (
                "CloudWatch Logs encrypts it with a key of its own. AWS CDK makes the log group "
                "and takes no key for it; no secret is logged, since manifests here hold none."
            ),
            "NIST.800.53.R5-LambdaConcurrency": (
                "The functions run while a stack is deployed, and CloudFormation decides how many "
                "at once. One that was throttled would fail the deployment."
            ),
            "NIST.800.53.R5-LambdaDLQ": (
                "CloudFormation waits for the answer of these functions. One that fails answers "
                "so, and the deployment is rolled back: there is no event to keep for later."
            ),
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
