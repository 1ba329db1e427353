"""The policies that AWS keeps, and why each is attached."""

from __future__ import annotations

from .rows import MANAGED, ManagedPolicy


def _nodes(who: str, where: str) -> tuple[ManagedPolicy, ...]:
    link = "https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html"
    return (
        ManagedPolicy(
            who=who,
            where=where,
            policy="AmazonEKSWorkerNodePolicy",
            reason="EKS requires it of the role of every node.",
            documentation=link,
        ),
        ManagedPolicy(
            who=who,
            where=where,
            policy="AmazonEC2ContainerRegistryPullOnly",
            reason="By it a node pulls images from ECR; the images of the system's pods lie in "
            "repositories of AWS's own accounts.",
            documentation=link,
        ),
        ManagedPolicy(
            who=who,
            where=where,
            policy="AmazonSSMManagedInstanceCore",
            reason="By it people reach a Bottlerocket node, which has no SSH, and all they do is "
            "logged.",
            documentation=f"{MANAGED}AmazonSSMManagedInstanceCore.html",
        ),
    )


_KUBECTL = "Cluster/Cluster/KubectlProvider/"
_REGISTRY = "AWS CDK attaches it to the function that runs Helm, which reads charts from registries"

MANAGED_POLICIES: tuple[ManagedPolicy, ...] = (
    ManagedPolicy(
        who="API Gateway, for the account",
        where="Api/Rest/Api/CloudWatchRole",
        policy="service-role/AmazonAPIGatewayPushToCloudWatchLogs",
        reason="API Gateway writes the logs of all APIs of an account with one role, and asks for "
        "this policy on it.",
        documentation="https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html",
    ),
    ManagedPolicy(
        who="Control plane of the cluster",
        where="Cluster/Cluster/Role",
        policy="AmazonEKSClusterPolicy",
        reason="EKS requires it.",
        documentation="https://docs.aws.amazon.com/eks/latest/userguide/cluster-iam-role.html",
    ),
    *(
        ManagedPolicy(
            who="Control plane in Auto Mode",
            where="Cluster/Cluster/Role",
            policy=policy,
            reason=f"EKS Auto Mode requires it, to {purpose}.",
            documentation="https://docs.aws.amazon.com/eks/latest/userguide/auto-cluster-iam-role.html",
        )
        for policy, purpose in (
            ("AmazonEKSComputePolicy", "launch and end nodes"),
            ("AmazonEKSBlockStoragePolicy", "make volumes for pods"),
            ("AmazonEKSLoadBalancingPolicy", "make load balancers for services"),
            ("AmazonEKSNetworkingPolicy", "give pods addresses"),
        )
    ),
    *_nodes("System nodes", "Cluster/SystemNodes/Role"),
    *_nodes("GPU nodes", "Cluster/GpuNodes/Role"),
    *(
        ManagedPolicy(
            who=who,
            where=where,
            policy=policy,
            reason=reason,
            documentation="https://docs.aws.amazon.com/eks/latest/userguide/auto-create-node-role.html",
        )
        for who, where, policy, reason in (
            (
                "System nodes in Auto Mode",
                "Cluster/SystemNodes/Identity/Role",
                "AmazonEKSWorkerNodeMinimalPolicy",
                "EKS requires it: by it nodes hand pods the credentials of their roles.",
            ),
            (
                "System nodes in Auto Mode",
                "Cluster/SystemNodes/Identity/Role",
                "AmazonEC2ContainerRegistryPullOnly",
                "By it a node pulls images from ECR.",
            ),
            (
                "GPU nodes in Auto Mode",
                "Cluster/GpuNodes/Role",
                "AmazonEKSWorkerNodeMinimalPolicy",
                "EKS requires it: by it nodes hand pods the credentials of their roles.",
            ),
        )
    ),
    ManagedPolicy(
        who="CloudWatch agent",
        where="Cluster/Addons/AmazonCloudwatchObservabilityRole",
        policy="CloudWatchAgentServerPolicy",
        reason="The agent's documentation asks for it, to write metrics, logs and traces; on a "
        "role of the agent's own.",
        documentation=f"{MANAGED}CloudWatchAgentServerPolicy.html",
    ),
    ManagedPolicy(
        who="VPC CNI plugin",
        where="Cluster/Addons/VpcCniRole",
        policy="AmazonEKS_CNI_Policy",
        reason="EKS asks for it, on a role of the plugin's own, so that nodes and other pods do "
        "not have it.",
        documentation="https://docs.aws.amazon.com/eks/latest/userguide/cni-iam-role.html",
    ),
    *(
        ManagedPolicy(
            who="AWS CDK's functions that run kubectl and Helm",
            where=f"{_KUBECTL}*/ServiceRole",
            policy=f"service-role/{policy}",
            reason=reason,
            documentation=f"{MANAGED}{policy}.html",
        )
        for policy, reason in (
            ("AWSLambdaBasicExecutionRole", "By it a function writes its logs."),
            (
                "AWSLambdaVPCAccessExecutionRole",
                "By it a function is in the VPC, from where alone a private Kubernetes API can be "
                "reached.",
            ),
        )
    ),
    ManagedPolicy(
        who="AWS CDK's functions that run kubectl and Helm",
        where=f"{_KUBECTL}Handler/ServiceRole",
        policy="AmazonEC2ContainerRegistryReadOnly",
        reason=f"{_REGISTRY}.",
        documentation=f"{MANAGED}AmazonEC2ContainerRegistryReadOnly.html",
    ),
    ManagedPolicy(
        who="AWS CDK's functions that run kubectl and Helm",
        where=f"{_KUBECTL}Handler/ServiceRole",
        policy="AmazonElasticContainerRegistryPublicReadOnly",
        reason=f"{_REGISTRY}; in partitions that have the public one.",
        documentation=f"{MANAGED}AmazonElasticContainerRegistryPublicReadOnly.html",
    ),
    ManagedPolicy(
        who="AWS CDK's function that closes default security groups",
        where="Custom::VpcRestrictDefaultSGCustomResourceProvider/Role",
        policy="service-role/AWSLambdaBasicExecutionRole",
        reason="By it a function writes its logs.",
        documentation=f"{MANAGED}AWSLambdaBasicExecutionRole.html",
    ),
)
