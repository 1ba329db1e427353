"""A cluster that costs no synthesis: what runtimes need of one, and nothing behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from aws_cdk import App, CfnWaitConditionHandle, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import Compute, RuntimeCluster
from cdk_stable_diffusion.cluster.manifest import apply_manifest, namespace
from cdk_stable_diffusion.runtime import Model, SdRuntime
from tests.manifests.compose import IMAGE, Template, new_app, templates_of
from tests.manifests.template import manifest_of, manifests_of
from tests.manifests.validator import faults_of

KARPENTER = Compute.karpenter()
AUTO_MODE = Compute.auto_mode()
ZONES = ("eu-west-1a", "eu-west-1b")


class LightCluster(RuntimeCluster):
    """An imported cluster with subnets in two known zones."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        compute: Compute = KARPENTER,
        subnets: tuple[ec2.ISubnet, ...] | None = None,
    ) -> None:
        super().__init__(scope, id)
        self.compute = compute
        self.vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id="vpc-0123456789abcdef0",
            availability_zones=list(ZONES),
            private_subnet_ids=["subnet-0a", "subnet-0b"],
            private_subnet_route_table_ids=["rtb-0a", "rtb-0b"],
        )
        self.node_subnets = tuple(self.vpc.private_subnets) if subnets is None else subnets
        self.node_role = iam.Role.from_role_name(self, "NodeRole", "node-role")
        self.instance_profile = (
            None
            if compute.is_auto_mode
            else iam.InstanceProfile.from_instance_profile_name(self, "Profile", "node-profile")
        )
        self.cluster = eks.Cluster.from_cluster_attributes(
            self,
            "Imported",
            cluster_name="cluster",
            vpc=self.vpc,
            cluster_security_group_id="sg-0123456789abcdef0",
            kubectl_provider=eks.KubectlProvider.from_kubectl_provider_attributes(
                self,
                "Kubectl",
                service_token="arn:aws:lambda:eu-west-1:123456789012:function:kubectl",
                role=iam.Role.from_role_name(self, "KubectlRole", "kubectl"),
            ),
        )
        self.namespace = "stable-diffusion"
        self.namespace_manifest = apply_manifest(
            self,
            "Namespace",
            cluster=self.cluster,
            resource=namespace(self.namespace, pod_security="restricted"),
        )
        self.keda_operator_role = iam.Role(
            self, "KedaRole", assumed_by=iam.ServicePrincipal("pods.eks.amazonaws.com")
        )
        self.before_nodes = (CfnWaitConditionHandle(self, "BeforeNodes"),)
        self.before_pods = (self.namespace_manifest, CfnWaitConditionHandle(self, "BeforePods"))
        self.before_scaling = (CfnWaitConditionHandle(self, "BeforeScaling"),)


@dataclass(frozen=True)
class LightService:
    """An API and such a cluster in one stack, to add runtimes to."""

    app: App
    stack: Stack
    api: SdApi
    cluster: LightCluster

    def add_runtime(self, id: str = "Any", model: Model | None = None, **given: Any) -> SdRuntime:
        return SdRuntime(
            self.stack,
            id,
            api=self.api,
            cluster=self.cluster,
            model=Model.static(id.lower()) if model is None else model,
            **{"image": IMAGE, **given},
        )

    def template(self) -> Template:
        return templates_of(self.app)[self.stack.stack_name]


def light_service(*, compute: Compute = KARPENTER, region: str | None = None) -> LightService:
    app = new_app()
    environment = None if region is None else {"region": region, "account": "123456789012"}
    stack = Stack(app, "Service", env=cast("Any", environment))
    return LightService(
        app, stack, SdApi(stack, "Api"), LightCluster(stack, "Cluster", compute=compute)
    )


def spec_of(kind: str, name: str, *templates: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of one Kubernetes resource."""
    return dict(manifest_of(kind, name, *templates)["spec"])


def invalid_manifests(*templates: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what is wrong with the Kubernetes resources of templates, by resource."""
    faults = {
        f"{each['kind']} {each['metadata']['name']}": faults_of(each)
        for each in manifests_of(*templates)
    }
    return {name: found for name, found in faults.items() if found}
