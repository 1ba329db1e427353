"""Bad arguments: all of them are named at once, before anything is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import Duration, Size
from aws_cdk import aws_ec2 as ec2

from cdk_stable_diffusion.runtime.image import RuntimeImage
from cdk_stable_diffusion.runtime.image_cache import ImageCache
from cdk_stable_diffusion.runtime.image_cache.arguments import default_volume
from tests.unit.image_cache.scene import custom, image, network, template


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"images": []}, "images is empty"),
        ({"images": image()}, "images is RuntimeImage"),
        ({"images": ["public.ecr.aws/a"]}, r"images\[0\] is 'public.ecr.aws/a': an image"),
        (
            {"images": [image(), image("public.ecr.aws/a/b:latest")]},
            r"images\[1\] is 'public.ecr.aws/a/b:latest', which a tag names.*by digest",
        ),
        ({"images": [image("nginx:1")]}, r"images\[0\]: 'nginx:1' is no image with its registry"),
        ({"vpc": "vpc-1"}, "vpc is 'vpc-1': a VPC"),
        ({"subnets": "subnet-1"}, "subnets is 'subnet-1': a SubnetSelection"),
        (
            {"subnets": ec2.SubnetSelection(subnet_group_name="Nowhere")},
            "subnets: there are no such subnets",
        ),
        ({"volume": 60}, "volume is 60: a Size"),
        ({"volume": Size.gibibytes(19)}, "volume is 19 GiB: whole GiB, 20 to 16384"),
        ({"volume": Size.mebibytes(30_000)}, "volume is 30000 MiB: whole GiB"),
        ({"volume": Size.tebibytes(17)}, "volume is 17408 GiB"),
        ({"keep_versions": 1}, "keep_versions is 1: 2 to 10, since a rollback"),
        ({"keep_versions": 11}, "keep_versions is 11"),
        ({"keep_versions": True}, "keep_versions is True: a whole number"),
        ({"timeout": 45}, "timeout is 45: a Duration"),
        ({"timeout": Duration.minutes(24)}, "timeout is 1440 seconds: 1500 to 3300"),
        ({"timeout": Duration.minutes(56)}, "timeout is 3360 seconds: 1500 to 3300"),
        (
            {"instance_type": ec2.InstanceType("m6i")},
            r"instance_type is 'm6i': an InstanceType, such as ec2.InstanceType\('m6i.xlarge'\)",
        ),
        ({"instance_type": "m6i.large"}, "instance_type is 'm6i.large': an InstanceType"),
        (
            {"instance_type": ec2.InstanceType("m7g.large")},
            "instance_type is 'm7g.large': one of the x86-64 architecture",
        ),
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=rf"ImageCache Stack/Cache: {said}"):
        template(**arguments)


def test_all_are_named_and_nothing_is_made() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    vpc = network(stack)
    before = len(stack.node.find_all())
    with pytest.raises(ValueError) as error:
        ImageCache(
            stack,
            "Cache",
            images=[],
            vpc=vpc,
            volume=Size.gibibytes(1),
            keep_versions=0,
            timeout=Duration.hours(2),
        )
    for name in ("images", "volume", "keep_versions", "timeout"):
        assert f"{name} is" in str(error.value)
    assert len(stack.node.find_all()) == before


def test_a_vpc_without_a_way_out_is_refused() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    isolated = ec2.Vpc(
        stack,
        "Isolated",
        nat_gateways=0,
        subnet_configuration=[
            ec2.SubnetConfiguration(name="Own", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        ],
    )
    with pytest.raises(ValueError, match="vpc: there are no such subnets"):
        ImageCache(stack, "Cache", images=[image()], vpc=isolated)
    # With VPC endpoints it may have one, which only its owner knows.
    ImageCache(
        stack,
        "Reached",
        images=[image()],
        vpc=isolated,
        subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
    )


@pytest.mark.parametrize(
    "subnets",
    [
        None,
        ec2.SubnetSelection(subnet_group_name="Builders"),
        ec2.SubnetSelection(availability_zones=["eu-west-1a"]),
    ],
    ids=["default", "group", "zone"],
)
def test_a_vpc_that_is_yet_to_be_looked_up_is_taken(subnets: ec2.SubnetSelection | None) -> None:
    app = cdk.App()
    environment = cdk.Environment(account="123456789012", region="eu-west-1")
    stack = cdk.Stack(app, "Stack", env=environment)
    vpc = ec2.Vpc.from_lookup(stack, "Vpc", vpc_id="vpc-0123456789abcdef0")
    ImageCache(stack, "Cache", images=[image()], vpc=vpc, subnets=subnets)
    # It is looked up only if the app is synthesised.
    manifest = json.loads((Path(app.synth().directory) / "manifest.json").read_text())
    assert [each["provider"] for each in manifest["missing"]] == ["vpc-provider"]


@pytest.mark.parametrize("minutes", [25, 55])
def test_the_limits_are_allowed(minutes: int) -> None:
    resource = custom(
        template(
            timeout=Duration.minutes(minutes),
            volume=Size.gibibytes(20),
            keep_versions=10,
            instance_type=ec2.InstanceType("c6in.2xlarge"),
        )
    )
    # CloudFormation allows no more.
    assert minutes * 60 < int(resource["Properties"]["ServiceTimeout"]) <= 3_600


@pytest.mark.parametrize("seconds", [1_501, 2_999.5, 3_299])
def test_any_timeout_between_them_is_allowed(seconds: float) -> None:
    properties = custom(template(timeout=Duration.seconds(seconds)))["Properties"]
    # What waits counts in quarters of a minute, and waits for longer than a build takes.
    assert seconds < int(properties["LifetimeMinutes"]) * 60 < int(properties["ServiceTimeout"])


class TestModelsInImages:
    """They take their size packed and unpacked, which is known beforehand."""

    @pytest.fixture
    def with_model(self, tmp_path: Path) -> RuntimeImage:
        folder = tmp_path / "sdxl"
        (folder / "unet").mkdir(parents=True)
        (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
        with (folder / "unet" / "weights.safetensors").open("wb") as weights:
            weights.truncate(25 * 1024**3)
        return RuntimeImage.from_package(models={"sdxl": folder})

    def test_the_volume_has_room_for_them(self, with_model: RuntimeImage) -> None:
        assert default_volume([image(), with_model]).to_gibibytes() == 60 + 59
        assert default_volume([image()]).to_gibibytes() == 60

    def test_a_volume_without_is_refused(self, with_model: RuntimeImage) -> None:
        said = r"volume is 78 GiB: whole GiB, 79 to 16384, since the models in the images take 59"
        with pytest.raises(ValueError, match=said):
            template(images=[with_model], volume=Size.gibibytes(78))


def test_a_token_is_taken_and_checked_later() -> None:
    token = cdk.Fn.import_value("Image")
    resource = custom(template(images=[RuntimeImage.from_registry(token)]))
    assert resource["Properties"]["Images"] == [
        {"Uri": {"Fn::ImportValue": "Image"}, "Source": "registry"}
    ]
