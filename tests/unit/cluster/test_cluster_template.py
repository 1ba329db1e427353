"""What a cluster synthesises to."""

from __future__ import annotations

import ipaddress
import json
from fnmatch import fnmatch
from typing import Any

import pytest
from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from cdk_stable_diffusion.cluster import (
    VERSIONS,
    Addon,
    ClusterEndpoint,
    PodIdentity,
    Priority,
    SdEksCluster,
)
from tests.manifests.compose import (
    Template,
    as_list,
    cluster_alone,
    new_app,
    properties,
    resources,
    statements,
    templates_of,
)
from tests.manifests.template import manifest_of

CHART = "Custom::AWSCDK-EKS-HelmChart"


@pytest.fixture(scope="module")
def template() -> Template:
    return cluster_alone()


def cluster_template(**arguments: Any) -> Template:
    app = new_app()
    SdEksCluster(Stack(app, "Service"), "Cluster", **arguments)
    return templates_of(app)["Service"]


def chart(template: Template, name: str) -> dict[str, Any]:
    (found,) = (each for each in properties(template, CHART) if each["Release"] == name)
    return found


def values(template: Template, name: str) -> dict[str, Any]:
    text = chart(template, name)["Values"]
    if isinstance(text, dict):
        text = "".join(item if isinstance(item, str) else "token" for item in text["Fn::Join"][1])
    return dict(json.loads(text))


def control_plane(template: Template) -> dict[str, Any]:
    (found,) = properties(template, "AWS::EKS::Cluster")
    return found


class TestControlPlane:
    def test_has_the_pinned_version(self, template: Template) -> None:
        assert control_plane(template)["Version"] == VERSIONS.kubernetes == "1.35"

    def test_is_reached_from_the_vpc_only(self, template: Template) -> None:
        access = control_plane(template)["ResourcesVpcConfig"]
        assert access["EndpointPrivateAccess"] is True
        assert access["EndpointPublicAccess"] is False

    def test_is_reached_from_where_the_user_says(self) -> None:
        access = ClusterEndpoint.public_and_private("192.0.2.0/24", "198.51.100.7/32")
        config = control_plane(cluster_template(endpoint_access=access))["ResourcesVpcConfig"]
        assert config["EndpointPublicAccess"] is True
        assert config["EndpointPrivateAccess"] is True
        assert config["PublicAccessCidrs"] == ["192.0.2.0/24", "198.51.100.7/32"]

    def test_logs_everything(self, template: Template) -> None:
        logging = control_plane(template)["Logging"]["ClusterLogging"]["EnabledTypes"]
        assert {each["Type"] for each in logging} == {
            "api",
            "audit",
            "authenticator",
            "controllerManager",
            "scheduler",
        }

    def test_encrypts_secrets_with_a_key_that_rotates(self, template: Template) -> None:
        (encryption,) = control_plane(template)["EncryptionConfig"]
        assert encryption["Resources"] == ["secrets"]
        (key,) = resources(template, "AWS::KMS::Key")
        assert key["Properties"]["EnableKeyRotation"] is True
        assert key["DeletionPolicy"] == "Delete"

    def test_encrypts_secrets_with_the_users_key(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        key = kms.Key(stack, "Mine")
        SdEksCluster(stack, "Cluster", secrets_encryption_key=key)
        assert len(resources(templates_of(app)["Service"], "AWS::KMS::Key")) == 1

    def test_knows_people_and_nodes_by_access_entries_only(self, template: Template) -> None:
        assert control_plane(template)["AccessConfig"]["AuthenticationMode"] == "API"

    def test_is_not_auto_mode(self, template: Template) -> None:
        assert control_plane(template)["ComputeConfig"]["Enabled"] is False

    def test_leaves_addons_to_the_template(self, template: Template) -> None:
        assert control_plane(template)["BootstrapSelfManagedAddons"] is False


class TestNetwork:
    def test_spans_two_zones_with_one_nat_gateway(self, template: Template) -> None:
        assert len(resources(template, "AWS::EC2::Subnet")) == 4
        assert len(resources(template, "AWS::EC2::NatGateway")) == 1

    def test_spans_as_many_zones_as_the_user_says(self) -> None:
        app = new_app()
        stack = Stack(app, "Service", env={"region": "eu-west-1", "account": "123456789012"})
        stack.node.set_context(
            "availability-zones:account=123456789012:region=eu-west-1",
            ["eu-west-1a", "eu-west-1b", "eu-west-1c"],
        )
        SdEksCluster(stack, "Cluster", availability_zones=3, nat_gateways=3)
        template = templates_of(app)["Service"]
        assert len(resources(template, "AWS::EC2::Subnet")) == 6
        assert len(resources(template, "AWS::EC2::NatGateway")) == 3

    def test_reaches_s3_without_the_nat_gateway(self, template: Template) -> None:
        (endpoint,) = properties(template, "AWS::EC2::VPCEndpoint")
        assert endpoint["VpcEndpointType"] == "Gateway"
        assert "s3" in json.dumps(endpoint["ServiceName"])

    def test_logs_its_flows(self, template: Template) -> None:
        (flow_log,) = properties(template, "AWS::EC2::FlowLog")
        assert flow_log["TrafficType"] == "ALL"

    def test_leaves_the_default_security_group_empty(self, template: Template) -> None:
        assert len(resources(template, "Custom::VpcRestrictDefaultSG")) == 1

    def test_gives_no_public_addresses(self, template: Template) -> None:
        assert not any(
            subnet.get("MapPublicIpOnLaunch") for subnet in properties(template, "AWS::EC2::Subnet")
        )

    def test_may_be_the_users(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        SdEksCluster(stack, "Cluster", vpc=ec2.Vpc(stack, "Mine", nat_gateways=1))
        template = templates_of(app)["Service"]
        assert len(resources(template, "AWS::EC2::VPC")) == 1
        assert resources(template, "AWS::EC2::FlowLog") == []
        assert resources(template, "AWS::EC2::VPCEndpoint") == []


class TestSystemNodes:
    def test_are_two_arm_bottlerocket_nodes(self, template: Template) -> None:
        (group,) = properties(template, "AWS::EKS::Nodegroup")
        assert group["AmiType"] == "BOTTLEROCKET_ARM_64"
        assert group["InstanceTypes"] == ["m7g.large"]
        assert group["ScalingConfig"] == {"MinSize": 2, "DesiredSize": 2, "MaxSize": 3}

    def test_take_the_variant_of_their_architecture(self) -> None:
        template = cluster_template(
            system_instance_type=ec2.InstanceType("m7i.xlarge"), system_node_count=3
        )
        (group,) = properties(template, "AWS::EKS::Nodegroup")
        assert group["AmiType"] == "BOTTLEROCKET_x86_64"
        assert group["InstanceTypes"] == ["m7i.xlarge"]
        assert group["ScalingConfig"]["DesiredSize"] == 3

    def test_spread_over_the_subnets_of_all_zones(self, template: Template) -> None:
        (group,) = properties(template, "AWS::EKS::Nodegroup")
        private = [
            {"Ref": name}
            for name, each in template["Resources"].items()
            if each["Type"] == "AWS::EC2::Subnet" and "Private" in name
        ]
        assert group["Subnets"] == private
        assert len(private) == 2
        assert control_plane(template)["ResourcesVpcConfig"]["SubnetIds"] == private

    def test_are_replaced_where_they_break(self, template: Template) -> None:
        (group,) = properties(template, "AWS::EKS::Nodegroup")
        assert group["NodeRepairConfig"] == {"Enabled": True}

    def test_cannot_change_the_network(self, template: Template) -> None:
        for role in resources(template, "AWS::IAM::Role"):
            trusted = json.dumps(role["Properties"]["AssumeRolePolicyDocument"])
            if "ec2.amazonaws.com" in trusted:
                assert "AmazonEKS_CNI_Policy" not in json.dumps(role)


def addons(template: Template) -> dict[str, dict[str, Any]]:
    return {each["AddonName"]: each for each in properties(template, "AWS::EKS::Addon")}


def configuration(template: Template, name: str) -> dict[str, Any]:
    return dict(json.loads(addons(template)[name]["ConfigurationValues"]))


class TestAddons:
    def test_are_those_of_the_table_in_its_versions(self, template: Template) -> None:
        assert {name: each["AddonVersion"] for name, each in addons(template).items()} == dict(
            VERSIONS.addons
        )

    def test_are_the_seven(self, template: Template) -> None:
        assert set(addons(template)) == {
            "vpc-cni",
            "coredns",
            "kube-proxy",
            "eks-pod-identity-agent",
            "eks-node-monitoring-agent",
            "metrics-server",
            "amazon-cloudwatch-observability",
        }

    def test_take_the_users_changes(self) -> None:
        template = cluster_template(
            addons=[
                Addon(name="coredns", version="v1.14.6-eksbuild.4"),
                Addon(name="metrics-server", configuration={"replicas": 3}),
                Addon.left_out("amazon-cloudwatch-observability"),
                Addon(
                    name="aws-ebs-csi-driver",
                    pod_identity=PodIdentity(
                        service_account="ebs-csi-controller-sa",
                        managed_policies=("service-role/AmazonEBSCSIDriverPolicy",),
                    ),
                ),
            ]
        )
        made = addons(template)
        assert made["coredns"]["AddonVersion"] == "v1.14.6-eksbuild.4"
        assert made["kube-proxy"]["AddonVersion"] == VERSIONS.addon("kube-proxy")
        assert configuration(template, "metrics-server") == {"replicas": 3}
        assert "amazon-cloudwatch-observability" not in made
        assert "AddonVersion" not in made["aws-ebs-csi-driver"]
        (association,) = made["aws-ebs-csi-driver"]["PodIdentityAssociations"]
        role = template["Resources"][association["RoleArn"]["Fn::GetAtt"][0]]["Properties"]
        assert "AmazonEBSCSIDriverPolicy" in json.dumps(role["ManagedPolicyArns"])

    def test_take_a_role_of_the_users(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        role = iam.Role.from_role_arn(stack, "Mine", "arn:aws:iam::123456789012:role/cni")
        identity = PodIdentity(service_account="aws-node", role=role)
        SdEksCluster(stack, "Cluster", addons=[Addon(name="vpc-cni", pod_identity=identity)])
        (association,) = addons(templates_of(app)["Service"])["vpc-cni"]["PodIdentityAssociations"]
        assert association["RoleArn"] == "arn:aws:iam::123456789012:role/cni"

    def test_configuration_may_hold_what_is_known_at_deployment(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        values = {"env": {"REGION": stack.region}}
        SdEksCluster(stack, "Cluster", addons=[Addon(name="kube-proxy", configuration=values)])
        made = addons(templates_of(app)["Service"])["kube-proxy"]["ConfigurationValues"]
        assert made["Fn::Join"][1] == ['{"env":{"REGION":"', {"Ref": "AWS::Region"}, '"}}']

    @pytest.mark.parametrize(
        ("name", "service_account", "policy"),
        [
            ("vpc-cni", "aws-node", "AmazonEKS_CNI_Policy"),
            ("amazon-cloudwatch-observability", "cloudwatch-agent", "CloudWatchAgentServerPolicy"),
        ],
    )
    def test_have_roles_of_their_own(
        self, template: Template, name: str, service_account: str, policy: str
    ) -> None:
        (association,) = addons(template)[name]["PodIdentityAssociations"]
        assert association["ServiceAccount"] == service_account
        role = template["Resources"][association["RoleArn"]["Fn::GetAtt"][0]]["Properties"]
        (attached,) = role["ManagedPolicyArns"]
        assert attached["Fn::Join"][1][-1] == f":iam::aws:policy/{policy}"
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        asked = trust["Condition"]["StringEquals"]
        assert asked["aws:RequestTag/kubernetes-service-account"] == service_account
        assert "Ref" in asked["aws:RequestTag/eks-cluster-name"]

    def test_network_plugin_applies_network_policies(self, template: Template) -> None:
        # EKS takes the word, not the JSON value.
        assert configuration(template, "vpc-cni")["enableNetworkPolicy"] == "true"

    def test_dns_and_metrics_outlive_a_node(self, template: Template) -> None:
        assert configuration(template, "coredns")["replicaCount"] == 2
        assert configuration(template, "metrics-server")["replicas"] == 2

    def test_observe_gpu_nodes_in_spite_of_their_taints(self, template: Template) -> None:
        agents = configuration(template, "eks-node-monitoring-agent")
        everywhere = [{"operator": "Exists"}]
        assert agents["nodeAgent"]["tolerations"] == everywhere
        assert agents["dcgmAgent"]["tolerations"] == everywhere
        observability = configuration(template, "amazon-cloudwatch-observability")
        assert observability["tolerations"] == everywhere

    def test_put_nothing_into_the_pods_of_others(self, template: Template) -> None:
        manager = configuration(template, "amazon-cloudwatch-observability")["manager"]
        assert manager["applicationSignals"]["autoMonitor"]["monitorAllServices"] is False

    def test_send_the_metrics_in_the_agents_logs(self, template: Template) -> None:
        logs = configuration(template, "amazon-cloudwatch-observability")["containerLogs"]
        (file,) = logs["fluentBit"]["config"]["extraFiles"].values()
        settings = dict(line.split(maxsplit=1) for line in file.splitlines() if line[:1] == " ")
        # What the kubelet calls the log of an agent: pod, namespace, container.
        name = "any-5d9f7-x2x4z_stable-diffusion_agent-0123456789abcdef.log"
        assert fnmatch(f"/var/log/containers/{name}", settings["Path"])
        # CloudWatch finds metrics only at the top of a line that is JSON.
        assert (settings["log_key"], settings["log_format"]) == ("log", "json/emf")

    def test_win_over_what_is_there(self, template: Template) -> None:
        assert {each["ResolveConflicts"] for each in addons(template).values()} == {"OVERWRITE"}


class TestCharts:
    @pytest.mark.parametrize(
        ("name", "version", "repository", "namespace"),
        [
            (
                "karpenter-crd",
                VERSIONS.karpenter,
                "oci://public.ecr.aws/karpenter/karpenter-crd",
                "kube-system",
            ),
            (
                "karpenter",
                VERSIONS.karpenter,
                "oci://public.ecr.aws/karpenter/karpenter",
                "kube-system",
            ),
            ("keda", VERSIONS.keda, "https://kedacore.github.io/charts", "keda"),
        ],
    )
    def test_are_pinned(
        self, template: Template, name: str, version: str, repository: str, namespace: str
    ) -> None:
        found = chart(template, name)
        assert found["Chart"] == name
        assert found["Version"] == version
        assert found["Repository"] == repository
        assert found["Namespace"] == namespace

    @pytest.mark.parametrize("name", ["karpenter-crd", "karpenter", "keda"])
    def test_roll_back_before_the_function_is_cut_off(self, template: Template, name: str) -> None:
        found = chart(template, name)
        assert found["Wait"] is True
        assert found["Atomic"] is True
        assert int(found["Timeout"].removesuffix("s")) <= 600

    def test_karpenter_hears_of_interruptions(self, template: Template) -> None:
        assert values(template, "karpenter")["settings"]["interruptionQueue"]

    def test_karpenter_has_two_replicas_with_resources(self, template: Template) -> None:
        found = values(template, "karpenter")
        assert found["replicas"] == 2
        assert found["controller"]["resources"]["limits"]["memory"] == "1Gi"
        assert found["serviceAccount"] == {"create": True, "name": "karpenter"}
        assert [each["name"] for each in found["controller"]["env"]] == ["AWS_REGION"]

    def test_custom_resources_of_karpenter_have_its_version(self, template: Template) -> None:
        assert (
            chart(template, "karpenter-crd")["Version"] == chart(template, "karpenter")["Version"]
        )

    def test_karpenter_has_no_alpha_feature_on(self, template: Template) -> None:
        assert "featureGates" not in values(template, "karpenter")["settings"]

    def test_keda_has_two_operators_in_different_zones(self, template: Template) -> None:
        found = values(template, "keda")
        assert found["operator"]["replicaCount"] == 2
        assert found["podDisruptionBudget"]["operator"] == {"maxUnavailable": 1}
        (spread,) = found["topologySpreadConstraints"]["operator"]
        assert spread["topologyKey"] == "topology.kubernetes.io/zone"
        assert spread["labelSelector"] == {"matchLabels": {"app": "keda-operator"}}

    def test_keda_runs_on_nodes_that_karpenter_does_not_end(self, template: Template) -> None:
        affinity = values(template, "keda")["affinity"]["nodeAffinity"]
        (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [
            {"key": "karpenter.sh/nodepool", "operator": "DoesNotExist"}
        ]

    @pytest.mark.parametrize("part", ["operator", "metricServer", "webhooks"])
    def test_keda_asks_for_what_it_needs(self, template: Template, part: str) -> None:
        needs = values(template, "keda")["resources"][part]
        assert set(needs["requests"]) == {"cpu", "memory"}
        assert set(needs["limits"]) == {"memory"}

    def test_keda_gets_its_role_without_an_annotation(self, template: Template) -> None:
        account = values(template, "keda")["serviceAccount"]["operator"]
        assert account == {"create": True, "name": "keda-operator"}


class TestInterruptions:
    def test_queue_forgets_after_five_minutes(self, template: Template) -> None:
        (queue,) = properties(template, "AWS::SQS::Queue")
        assert queue["MessageRetentionPeriod"] == 300
        assert queue["SqsManagedSseEnabled"] is True

    def test_five_kinds_of_notices_reach_it(self, template: Template) -> None:
        rules = properties(template, "AWS::Events::Rule")
        assert {each["EventPattern"]["detail-type"][0] for each in rules} == {
            "AWS Health Event",
            "EC2 Capacity Reservation Instance Interruption Warning",
            "EC2 Instance Rebalance Recommendation",
            "EC2 Instance State-change Notification",
            "EC2 Spot Instance Interruption Warning",
        }
        assert all(len(each["Targets"]) == 1 for each in rules)


class TestIdentity:
    def test_nodes_join_by_an_access_entry(self, template: Template) -> None:
        kinds = [each.get("Type") for each in properties(template, "AWS::EKS::AccessEntry")]
        assert kinds.count("EC2_LINUX") == 1

    def test_cloudformation_owns_the_instance_profile(self, template: Template) -> None:
        assert len(resources(template, "AWS::IAM::InstanceProfile")) == 1
        for _, statement in statements(template):
            for action in as_list(statement["Action"]):
                assert action not in ("iam:CreateInstanceProfile", "iam:DeleteInstanceProfile")

    def test_pods_get_roles_by_pod_identity(self, template: Template) -> None:
        associations = properties(template, "AWS::EKS::PodIdentityAssociation")
        assert {(each["Namespace"], each["ServiceAccount"]) for each in associations} == {
            ("kube-system", "karpenter"),
            ("keda", "keda-operator"),
        }

    def test_keda_may_do_nothing_without_a_runtime(self, template: Template) -> None:
        (association,) = (
            each
            for each in properties(template, "AWS::EKS::PodIdentityAssociation")
            if each["Namespace"] == "keda"
        )
        role = association["RoleArn"]["Fn::GetAtt"][0]
        given = template["Resources"][role]["Properties"]
        assert "ManagedPolicyArns" not in given
        assert "Policies" not in given
        assert not any(
            {"Ref": role} in policy.get("Roles", [])
            for policy in properties(template, "AWS::IAM::Policy")
        )

    def test_karpenter_has_the_statements_of_its_reference(self, template: Template) -> None:
        assert {
            statement["Sid"] for name, statement in statements(template) if "Karpenter" in name
        } == {
            "AllowScopedEC2InstanceAccessActions",
            "AllowScopedEC2LaunchTemplateAccessActions",
            "AllowScopedEC2InstanceActionsWithTags",
            "AllowScopedResourceCreationTagging",
            "AllowScopedResourceTagging",
            "AllowScopedDeletion",
            "AllowPassingInstanceRole",
            "AllowCreatingTheRoleOfSpot",
            "AllowAPIServerEndpointDiscovery",
            "AllowInterruptionQueueActions",
            "AllowZonalShiftStatusReadOnly",
            "AllowRegionalReadActions",
            "AllowSSMReadActions",
            "AllowPricingReadActions",
            "AllowUnscopedInstanceProfileListAction",
            "AllowInstanceProfileReadActions",
        }

    def test_karpenter_may_make_the_role_that_spot_needs_once_an_account(
        self, template: Template
    ) -> None:
        (creation,) = (
            statement
            for _, statement in statements(template)
            if statement["Action"] == "iam:CreateServiceLinkedRole"
        )
        assert creation["Resource"]["Fn::Join"][1][-1] == (
            ":role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
        )
        assert creation["Condition"] == {
            "StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}
        }

    def test_karpenter_ends_only_what_is_its_own(self, template: Template) -> None:
        (deletion,) = (
            statement
            for _, statement in statements(template)
            if statement.get("Sid") == "AllowScopedDeletion"
        )
        (key,) = deletion["Condition"]["StringEquals"]
        assert key.startswith("aws:ResourceTag/kubernetes.io/cluster/<Cluster")
        assert deletion["Condition"]["StringEquals"][key] == "owned"


def manifest(template: Template, kind: str, name: str) -> dict[str, Any]:
    return manifest_of(kind, name, template)


class TestNamespaces:
    @pytest.mark.parametrize("name", ["stable-diffusion", "keda"])
    def test_take_restricted_pods_only(self, template: Template, name: str) -> None:
        labels = manifest(template, "Namespace", name)["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


class TestPriorities:
    def test_are_three_and_end_no_pod(self, template: Template) -> None:
        found = {
            priority: manifest(template, "PriorityClass", priority.class_name)
            for priority in Priority
        }
        assert {each["preemptionPolicy"] for each in found.values()} == {"Never"}
        assert found[Priority.HIGH]["value"] > found[Priority.NORMAL]["value"]
        assert found[Priority.NORMAL]["value"] > found[Priority.LOW]["value"]

    def test_have_names_that_stay(self) -> None:
        assert [priority.class_name for priority in Priority] == [
            "stable-diffusion-high",
            "stable-diffusion-normal",
            "stable-diffusion-low",
        ]


class TestNetworkPolicy:
    @pytest.fixture
    def policy(self, template: Template) -> dict[str, Any]:
        found = manifest(template, "NetworkPolicy", "runtimes")
        assert found["metadata"]["namespace"] == "stable-diffusion"
        return dict(found["spec"])

    def test_holds_for_every_pod_both_ways(self, policy: dict[str, Any]) -> None:
        assert policy["podSelector"] == {}
        assert policy["policyTypes"] == ["Ingress", "Egress"]

    def test_lets_nobody_in(self, policy: dict[str, Any]) -> None:
        assert "ingress" not in policy

    def test_lets_pods_reach_dns_credentials_and_https_only(self, policy: dict[str, Any]) -> None:
        dns, credentials, https = policy["egress"]
        assert dns["to"] == [
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                },
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ]
        assert dns["ports"] == [
            {"port": 53, "protocol": "UDP"},
            {"port": 53, "protocol": "TCP"},
        ]
        assert credentials["to"] == [{"ipBlock": {"cidr": "169.254.170.23/32"}}]
        assert credentials["ports"] == [{"port": 80, "protocol": "TCP"}]
        assert https["ports"] == [{"port": 443, "protocol": "TCP"}]

    def test_keeps_the_metadata_of_instances_away(self, policy: dict[str, Any]) -> None:
        metadata = ipaddress.ip_address("169.254.169.254")
        for rule in policy["egress"]:
            for peer in rule["to"]:
                block = peer.get("ipBlock")
                if block is not None:
                    reached = metadata in ipaddress.ip_network(block["cidr"])
                    excluded = any(
                        metadata in ipaddress.ip_network(each) for each in block.get("except", ())
                    )
                    assert not reached or excluded


class TestManners:
    def test_has_no_outputs(self, template: Template) -> None:
        assert "Outputs" not in template

    def test_has_no_physical_names(self, template: Template) -> None:
        names = {
            "AWS::IAM::Role": "RoleName",
            "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
            "AWS::IAM::InstanceProfile": "InstanceProfileName",
            "AWS::SQS::Queue": "QueueName",
            "AWS::EKS::Cluster": "Name",
            "AWS::EKS::Nodegroup": "NodegroupName",
            "AWS::Events::Rule": "Name",
            "AWS::Logs::LogGroup": "LogGroupName",
        }
        for kind, name in names.items():
            assert not any(name in each for each in properties(template, kind)), kind

    def test_two_in_one_stack_do_not_collide(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        SdEksCluster(stack, "Blue")
        SdEksCluster(stack, "Green")
        assert len(resources(templates_of(app)["Service"], "AWS::EKS::Cluster")) == 2
