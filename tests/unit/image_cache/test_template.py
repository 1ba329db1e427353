"""What a cache adds to a template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr

from cdk_stable_diffusion.cluster.versions import VERSIONS
from cdk_stable_diffusion.runtime.image import RuntimeImage
from cdk_stable_diffusion.runtime.image_cache import ImageCache
from cdk_stable_diffusion.runtime.image_cache.asset import handler_files
from tests.unit.image_cache.scene import (
    DIGEST,
    ELSEWHERE,
    IN_ECR,
    Template,
    custom,
    flat,
    image,
    listed,
    network,
    of_type,
    statements,
    template,
)

TAG = "sd.image-cache/name"

# What AWS lets nobody restrict to a resource.
UNRESTRICTED = {
    "ec2:DescribeInstances",
    "ec2:DescribeSnapshots",
    "ec2:DescribeVolumes",
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "ecr:GetAuthorizationToken",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "ssm:DescribeInstanceInformation",
    "ssm:GetCommandInvocation",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


@pytest.fixture(scope="module")
def default() -> Template:
    return template()


def data_of_launch_template(template: Template) -> dict[str, Any]:
    (found,) = of_type(template, "AWS::EC2::LaunchTemplate").values()
    data: dict[str, Any] = found["Properties"]["LaunchTemplateData"]
    return data


def only(template: Template, action: str) -> list[dict[str, Any]]:
    return [each for each in statements(template) if action in listed(each["Action"])]


def test_the_snapshot_is_what_the_resource_says() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    cache = ImageCache(stack, "Cache", images=[image(), image(ELSEWHERE)], vpc=network(stack))
    resource = cache.resource.node.default_child
    assert isinstance(resource, cdk.CfnElement)
    assert stack.resolve(cache.snapshot_id) == {
        "Fn::GetAtt": [stack.get_logical_id(resource), "SnapshotId"]
    }
    assert cache.image_uris == (IN_ECR, ELSEWHERE)
    assert cache.volume_gibibytes == 60


def test_its_identifier_stays_in_its_stack() -> None:
    """CloudFormation would refuse the first new one, once it is built."""
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    cache = ImageCache(stack, "Cache", images=[image()], vpc=network(stack))
    cdk.CfnOutput(stack, "Snapshot", value=cache.snapshot_id)
    nested = cdk.NestedStack(stack, "Nested")
    cdk.CfnResource(nested, "Nodes", type="Any::Any", properties={"Id": cache.snapshot_id})
    other = cdk.Stack(app, "Other")
    cdk.CfnResource(other, "Role", type="Any::Any", properties={"Id": cache.builder_role.role_arn})
    app.synth()

    app = cdk.App()
    stack, other = cdk.Stack(app, "Stack"), cdk.Stack(app, "Other")
    cache = ImageCache(stack, "Cache", images=[image()], vpc=network(stack))
    cdk.CfnResource(other, "Nodes", type="Any::Any", properties={"Id": cache.snapshot_id})
    with pytest.raises(RuntimeError, match=r"\[Stack/Cache\] snapshot_id is used in another stack"):
        app.synth()


def test_the_instance_is_locked_up(default: Template) -> None:
    data = data_of_launch_template(default)
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert "KeyName" not in data
    assert {each["DeviceName"] for each in data["BlockDeviceMappings"]} == {
        "/dev/xvda",
        "/dev/xvdb",
    }
    for disk in data["BlockDeviceMappings"]:
        assert disk["Ebs"]["Encrypted"] is True
        assert disk["Ebs"]["DeleteOnTermination"] is True
    (group,) = of_type(default, "AWS::EC2::SecurityGroup").values()
    assert "SecurityGroupIngress" not in group["Properties"]
    assert not of_type(default, "AWS::EC2::SecurityGroupIngress")
    assert [each["ToPort"] for each in group["Properties"]["SecurityGroupEgress"]] == [443]


def test_a_registry_on_another_port_is_let_through() -> None:
    (group,) = of_type(template(images=[image(ELSEWHERE)]), "AWS::EC2::SecurityGroup").values()
    assert [each["ToPort"] for each in group["Properties"]["SecurityGroupEgress"]] == [443, 8443]


def test_the_machine_image_is_the_pinned_one_without_a_driver(default: Template) -> None:
    (name,) = (
        each["Default"]
        for each in default["Parameters"].values()
        if each["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"
    )
    assert name == (
        f"/aws/service/bottlerocket/aws-k8s-{VERSIONS.kubernetes}/x86_64/"
        f"{VERSIONS.bottlerocket}/image_id"
    )


def test_no_action_is_a_wildcard(default: Template) -> None:
    for statement in statements(default):
        assert not any("*" in action for action in listed(statement["Action"])), statement


def test_no_resource_is_a_wildcard_that_could_be_named(default: Template) -> None:
    for statement in statements(default):
        if "*" in map(flat, listed(statement["Resource"])):
            assert set(listed(statement["Action"])) <= UNRESTRICTED, statement


@pytest.mark.parametrize(
    "action",
    [
        "ec2:StopInstances",
        "ec2:TerminateInstances",
        "ec2:DeleteSnapshot",
        "ec2:CreateSnapshot",
        "ec2:CreateTags",
    ],
)
def test_what_changes_something_is_bound_to_the_tag(default: Template, action: str) -> None:
    cache = custom(default)["Properties"]["Cache"]
    found = only(default, action)
    assert found
    for statement in found:
        condition = statement["Condition"]["StringEquals"]
        keys = [f"aws:ResourceTag/{TAG}", f"aws:RequestTag/{TAG}"]
        assert [condition[key] for key in keys if key in condition] == [cache]


def test_launching_is_bound_to_the_template(default: Template) -> None:
    (launch_template,) = of_type(default, "AWS::EC2::LaunchTemplate")
    found = only(default, "ec2:RunInstances")
    resources = {flat(each).rpartition(":")[2] for s in found for each in listed(s["Resource"])}
    assert {each.partition("/")[0] for each in resources} == {
        "image",
        "instance",
        "launch-template",
        "network-interface",
        "security-group",
        "subnet",
        "volume",
    }
    assert {"subnet/subnet-1", "subnet/subnet-2"} < resources
    for statement in found:
        condition = flat(statement["Condition"]["ArnEquals"]["ec2:LaunchTemplate"])
        assert condition.endswith(f":launch-template/<{launch_template}>")


def test_only_the_builders_role_is_passed_and_only_to_ec2(default: Template) -> None:
    (statement,) = only(default, "iam:PassRole")
    (role,) = (name for name in of_type(default, "AWS::IAM::Role") if "BuilderRole" in name)
    assert flat(statement["Resource"]) == f"<{role}.Arn>"
    services = ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": services}}


def test_commands_go_to_the_builder_only(default: Template) -> None:
    by_document, by_tag = only(default, "ssm:SendCommand")
    assert flat(by_document["Resource"]).endswith("::document/AWS-RunShellScript")
    assert by_tag["Condition"] == {
        "StringEquals": {f"ssm:resourceTag/{TAG}": custom(default)["Properties"]["Cache"]}
    }


def test_the_builder_may_pull_its_images_and_nothing_else() -> None:
    built = template(images=[image(), image(ELSEWHERE), RuntimeImage.from_package()])
    (pull,) = only(built, "ecr:BatchGetImage")
    repositories = {flat(each).partition(":ecr:")[2] for each in pull["Resource"]}
    assert {each for each in repositories if "cdk-" not in each} == {
        "*:*:repository/bottlerocket-*",
        "eu-west-1:123456789012:repository/team/runtime",
    }
    assert len(repositories) == 3
    services = {
        action.partition(":")[0]
        for statement in statements(built, "BuilderRole")
        for action in listed(statement["Action"])
    }
    assert services == {"ecr", "ssm", "ssmmessages", "ec2messages"}


def test_a_repository_that_is_a_token_can_be_granted() -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    repository = ecr.Repository(stack, "Repository")
    cache = ImageCache(
        stack,
        "Cache",
        images=[RuntimeImage.from_registry(repository.repository_uri_for_digest(DIGEST))],
        vpc=network(stack),
    )
    repository.grant_pull(cache.builder_role)
    built = app.synth().get_stack_by_name("Stack").template
    (name,) = of_type(built, "AWS::ECR::Repository")
    granted = [
        flat(r) for each in only(built, "ecr:BatchGetImage") for r in listed(each["Resource"])
    ]
    assert f"<{name}.Arn>" in granted


def test_builds_are_traced_and_logged_for_a_while(default: Template) -> None:
    machines = of_type(default, "AWS::StepFunctions::StateMachine")
    own = [each["Properties"] for name, each in machines.items() if "waiter" not in name]
    assert len(own) == 2
    for machine in own:
        assert machine["TracingConfiguration"] == {"Enabled": True}
        assert machine["LoggingConfiguration"]["Level"] == "ALL"
    for group in of_type(default, "AWS::Logs::LogGroup").values():
        assert group["Properties"]["RetentionInDays"] == 90
        assert group["DeletionPolicy"] == "Delete"


def test_a_build_that_ends_badly_starts_the_cleanup(default: Template) -> None:
    (rule,) = of_type(default, "AWS::Events::Rule").values()
    machines = of_type(default, "AWS::StepFunctions::StateMachine")
    (build,) = (each for each in machines if "Cleanup" not in each and "waiter" not in each)
    (cleanup,) = (each for each in machines if "Cleanup" in each)
    assert rule["Properties"]["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": [{"Ref": build}],
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
        },
    }
    (target,) = rule["Properties"]["Targets"]
    assert target["Arn"] == {"Ref": cleanup}


def needed_by(template: Template, name: str) -> set[str]:
    """Return everything that must exist before a resource does."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        resource = template["Resources"][waiting.pop()]
        text = json.dumps(resource)
        for other in template["Resources"]:
            mentioned = f'"{other}"' in text or f"${{{other}" in text
            if mentioned and other not in found and template["Resources"][other] is not resource:
                found.add(other)
                waiting.append(other)
    return found


def test_everything_outlives_the_snapshot() -> None:
    """What is needed before is deleted after, so the cleanup works to the end."""
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    ImageCache(stack, "Cache", images=[image()], vpc=ec2.Vpc(stack, "Vpc", max_azs=2))
    built = app.synth().get_stack_by_name("Stack").template
    (snapshot,) = of_type(built, "Custom::StableDiffusionImageCache")
    of_cache = {name for name in built["Resources"] if name.startswith("Cache")}
    assert of_cache - {snapshot} <= needed_by(built, snapshot)
    # In a VPC that is new, too, the instance needs a way out.
    assert set(of_type(built, "AWS::EC2::NatGateway")) & needed_by(built, snapshot)
    assert {name for name in of_type(built, "AWS::EC2::Route") if "Private" in name} <= needed_by(
        built, snapshot
    )


def test_the_same_app_asks_for_the_same(default: Template) -> None:
    assert template() == default


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ({"images": [image(IN_ECR.replace("aaa", "aab"))]}, {"Images"}),
        ({"volume": cdk.Size.gibibytes(80)}, {"VolumeGibibytes"}),
        ({"keep_versions": 3}, {"KeepVersions"}),
        ({"timeout": cdk.Duration.minutes(50)}, {"LifetimeMinutes", "ServiceTimeout"}),
        ({"instance_type": ec2.InstanceType("m7i.2xlarge")}, set()),
        (
            {"subnets": ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)},
            set(),
        ),
    ],
    ids=["image", "volume", "keep", "timeout", "instance", "subnets"],
)
def test_another_argument_changes_what_it_must(
    default: Template, arguments: dict[str, Any], changed: set[str]
) -> None:
    before = custom(default)["Properties"]
    after = custom(template(**arguments))["Properties"]
    assert {name for name in before if before[name] != after[name]} == changed
    assert set(before) == set(after)
    assert set(of_type(default, "Custom::StableDiffusionImageCache")) == set(
        of_type(template(**arguments), "Custom::StableDiffusionImageCache")
    )


def test_two_caches_keep_apart_and_publish_an_image_once(tmp_path: Path) -> None:
    app = cdk.App(outdir=str(tmp_path))
    stack = cdk.Stack(app, "Stack")
    vpc = network(stack)
    caches = [
        ImageCache(stack, id, images=[RuntimeImage.from_package()], vpc=vpc)
        for id in ("One", "Two")
    ]
    built = app.synth().get_stack_by_name("Stack").template
    one, two = of_type(built, "Custom::StableDiffusionImageCache").values()
    assert one["Properties"]["Cache"] != two["Properties"]["Cache"]
    assert one["Properties"]["Images"] == two["Properties"]["Images"]
    assert one["Properties"]["Images"][0]["Source"] == "asset"
    uris = [stack.resolve(list(cache.image_uris)) for cache in caches]
    assert uris[0] == uris[1]
    manifest = json.loads((tmp_path / "Stack.assets.json").read_text())
    assert len(manifest["dockerImages"]) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The functions' code as it lies in an assembly."""
    out = tmp_path_factory.mktemp("out")
    app = cdk.App(outdir=str(out))
    stack = cdk.Stack(app, "Stack")
    ImageCache(stack, "Cache", images=[image()], vpc=network(stack))
    app.synth()
    (found,) = (path for path in out.iterdir() if (path / "image_cache_handler").is_dir())
    return found


class TestAsset:
    """The code of the functions."""

    def test_it_holds_the_functions_only(self, folder: Path) -> None:
        found = {each.relative_to(folder).as_posix() for each in folder.rglob("*.py")}
        assert found == set(handler_files())
        assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".py"}

    def test_it_runs_by_itself(self, folder: Path) -> None:
        code = (
            "import sys\n"
            "from image_cache_handler.app import is_complete, on_event\n"
            "ours = {'aws_cdk', 'jsii', 'cdk_stable_diffusion'}\n"
            "assert not ours & set(sys.modules), sorted(ours & set(sys.modules))\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)

    def test_the_functions_name_what_is_in_it(self, folder: Path, default: Template) -> None:
        handlers = {
            each["Properties"]["Handler"]
            for each in of_type(default, "AWS::Lambda::Function").values()
            if "image_cache_handler" in each["Properties"]["Handler"]
        }
        assert handlers == {
            "image_cache_handler.app.on_event",
            "image_cache_handler.app.is_complete",
        }

    @pytest.mark.slow
    def test_synthesis_needs_nothing_that_the_functions_need(self) -> None:
        code = (
            "import sys\n"
            "import cdk_stable_diffusion.runtime.image_cache\n"
            "assert not {'boto3', 'botocore'} & set(sys.modules)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
