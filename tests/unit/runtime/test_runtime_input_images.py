"""Where the input images of a runtime may come from: what it may do for them, and what it knows."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import CfnParameter, Environment, Size, Stack, Token
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from cdk_stable_diffusion.contract import AgentEnvironment, RouteTable
from cdk_stable_diffusion.contract.limits import MAX_INPUT_BYTES, MAX_INPUT_PIXELS
from cdk_stable_diffusion.runtime import InputBucket, InputImages, Model
from tests.manifests.compose import Template, as_list, statements, templates_of
from tests.manifests.template import manifest_of
from tests.unit.runtime.light_cluster import LightService, light_service

HOST = "images.example.com"


def statements_of(template: Template, runtime: str = "Any") -> dict[str, dict[str, Any]]:
    return {
        statement["Sid"]: statement
        for name, statement in statements(template)
        if name.startswith(runtime) and "Sid" in statement
    }


def settings_of(template: Template, runtime: str = "any") -> AgentEnvironment:
    manifest = manifest_of("Deployment", runtime, template)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return AgentEnvironment.from_environment(
        {each["name"]: each["value"] for each in container["env"]}
    )


def routes_of(template: Template) -> RouteTable:
    (routes,) = (
        variables["SD_ROUTES"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::Lambda::Function"
        and "SD_ROUTES" in (variables := each["Properties"].get("Environment", {})["Variables"])
    )
    return RouteTable.from_json(routes)


def uploads(service: LightService, **arguments: Any) -> s3.Bucket:
    return s3.Bucket(service.stack, "Uploads", **arguments)


def test_by_default_nothing_but_the_output_bucket_is_read() -> None:
    service = light_service()
    service.add_runtime("Any", Model.dynamic())
    service.add_runtime("Sdxl", Model.static("sdxl"), input_images=InputImages())
    template = service.template()
    for runtime in ("any", "sdxl"):
        settings = settings_of(template, runtime)
        assert (settings.input_buckets, settings.input_hosts) == ((), ())
        assert (settings.max_input_bytes, settings.max_input_pixels) == (
            MAX_INPUT_BYTES,
            MAX_INPUT_PIXELS,
        )
        found = statements_of(template, runtime.capitalize())
        assert not {"ReadInputImages", "DecryptInputImages"} & set(found)
    assert routes_of(template).hosts == {}


def test_the_named_buckets_may_be_read_and_nothing_more() -> None:
    service = light_service()
    brought = s3.Bucket.from_bucket_name(service.stack, "Brought", "brought")
    part = InputBucket(bucket=brought, prefix="products/2026/")
    images = InputImages(buckets=(uploads(service), part))
    service.add_runtime("Any", Model.dynamic(), input_images=images)
    service.add_runtime("Other", Model.static("other"))
    template = service.template()
    statement = statements_of(template)["ReadInputImages"]
    assert statement["Action"] == "s3:GetObject"
    whole, partly = statement["Resource"]
    (name,) = (each for each in template["Resources"] if each.startswith("Uploads"))
    assert whole == {"Fn::Join": ["", [{"Fn::GetAtt": [name, "Arn"]}, "/*"]]}
    assert partly["Fn::Join"][1][-1] == ":s3:::brought/products/2026/*"
    # Neither has a key that anybody knows of.
    assert "DecryptInputImages" not in statements_of(template)
    assert "ReadInputImages" not in statements_of(template, "Other")
    whole, partly = settings_of(template).input_buckets
    assert name in whole and "/" not in whole
    assert partly == "brought/products/2026/"


def test_the_keys_of_the_buckets_may_decrypt_each_once() -> None:
    service = light_service()
    key = kms.Key(service.stack, "Key")
    own = uploads(service, encryption_key=key)
    brought = s3.Bucket.from_bucket_attributes(
        service.stack, "Brought", bucket_name="brought", encryption_key=key
    )
    other = s3.Bucket.from_bucket_attributes(
        service.stack,
        "Other",
        bucket_name="other",
        encryption_key=kms.Key.from_key_arn(
            service.stack, "OtherKey", "arn:aws:kms:eu-west-1:123456789012:key/other"
        ),
    )
    part = InputBucket(bucket=other, prefix="a/")
    images = InputImages(buckets=(own, brought, part))
    service.add_runtime("Any", Model.dynamic(), input_images=images)
    statement = statements_of(service.template())["DecryptInputImages"]
    assert statement["Action"] == "kms:Decrypt"
    made, known = as_list(statement["Resource"])
    assert made["Fn::GetAtt"][0].startswith("Key")
    assert known == "arn:aws:kms:eu-west-1:123456789012:key/other"


def test_agent_and_api_know_the_hosts_and_the_agent_the_limits() -> None:
    service = light_service()
    images = InputImages(
        hosts=[HOST, "cdn.example.org"], max_size=Size.mebibytes(5), max_pixels=1_000_000
    )
    service.add_runtime("Any", Model.dynamic(), input_images=images)
    service.add_runtime("Sdxl", Model.static("sdxl"))
    template = service.template()
    settings = settings_of(template)
    assert settings.input_hosts == (HOST, "cdn.example.org")
    assert settings.max_input_bytes == 5 * 2**20
    assert settings.max_input_pixels == 1_000_000
    routes = routes_of(template)
    assert routes.hosts == {"any": (HOST, "cdn.example.org")}
    assert routes.allows_host("any", HOST) and not routes.allows_host("sdxl", HOST)


def test_a_host_that_is_known_at_deployment_is_left_to_the_agent() -> None:
    service = light_service()
    host = CfnParameter(service.stack, "Host").value_as_string
    images = InputImages(hosts=(HOST, host))
    service.add_runtime("Any", Model.dynamic(), input_images=images)
    template = service.template()
    assert HOST in settings_of_text(template)
    routes = routes_of(template)
    assert routes.hosts == {"any": None}
    assert routes.allows_host("any", "anything.example.org")


def settings_of_text(template: Template) -> str:
    manifest = manifest_of("Deployment", "any", template)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return str({each["name"]: each["value"] for each in container["env"]}["SD_INPUT_HOSTS"])


def test_a_bucket_of_another_stack_is_deployed_before_the_runtime() -> None:
    service = light_service()
    other = Stack(service.app, "Other")
    images = InputImages(buckets=(s3.Bucket(other, "Uploads"),))
    service.add_runtime("Any", Model.dynamic(), input_images=images)
    assert "Other" in templates_of(service.app)
    assert other in service.stack.dependencies


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"buckets": "uploads"}, "buckets is 'uploads': buckets, such as (uploads,)"),
        ({"buckets": ("uploads",)}, "buckets[0] is 'uploads': a bucket, such as an s3.Bucket"),
        ({"hosts": HOST}, "hosts is 'images.example.com': names of hosts, such as"),
        ({"hosts": (f"https://{HOST}",)}, "hosts names 'https://images.example.com': a full DNS"),
        ({"hosts": ("Images.example.com",)}, "hosts names 'Images.example.com': a full DNS name"),
        ({"hosts": ("*.example.com",)}, "hosts names '*.example.com': a full DNS name"),
        ({"hosts": (f"{HOST}:443",)}, "hosts names 'images.example.com:443': a full DNS name"),
        ({"hosts": (f"{HOST}.",)}, "hosts names 'images.example.com.': a full DNS name"),
        ({"hosts": ("127.0.0.1",)}, "hosts names '127.0.0.1': a full DNS name"),
        ({"hosts": ("localhost",)}, "hosts names 'localhost': a full DNS name"),
        ({"hosts": (5,)}, "hosts names '5': a full DNS name"),
        ({"hosts": (HOST, HOST)}, "hosts names 'images.example.com' 2 times"),
        ({"hosts": tuple(f"h{i}.org" for i in range(21))}, "hosts has 21 entries: at most 20"),
        ({"max_size": 5}, "max_size is 5: a Size, such as Size.mebibytes(20)"),
        ({"max_size": Size.kibibytes(63)}, "max_size is 64512 bytes: 65536 to 104857600"),
        ({"max_size": Size.mebibytes(101)}, "max_size is 105906176 bytes: 65536 to 104857600"),
        (
            {"max_size": Size.mebibytes(Token.as_number({"Ref": "Size"}))},
            "max_size is a token: it must be known at synthesis",
        ),
        ({"max_pixels": 4_095}, "max_pixels is 4095: 4096 to 67108864"),
        ({"max_pixels": 2**26 + 1}, "max_pixels is 67108865: 4096 to 67108864"),
        ({"max_pixels": 1e6}, "max_pixels is 1000000.0: a whole number"),
        (
            {"max_pixels": Token.as_number({"Ref": "Pixels"})},
            "max_pixels is a token: it must be known at synthesis",
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_refuses(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=r"^InputImages: ") as error:
        InputImages(**arguments)
    assert says in str(error.value)


def test_names_every_fault_at_once() -> None:
    with pytest.raises(ValueError) as error:
        InputImages(buckets=(None,), hosts=("a",), max_size=1, max_pixels=0)  # type: ignore
    for says in ("buckets[0] is None", "hosts names 'a'", "max_size is 1", "max_pixels is 0"):
        assert says in str(error.value)


@pytest.mark.parametrize(
    "prefix", ["", "/", "/a/", "a", "a/b", "a/*/", "a?/", "${a}/", "../", "a/../b/", "./", "a\n/"]
)
def test_a_part_of_a_bucket_is_whole_folders(prefix: str) -> None:
    bucket = uploads(light_service())
    with pytest.raises(ValueError, match=r"^InputBucket: prefix is "):
        InputBucket(bucket=bucket, prefix=prefix)


def test_a_part_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        InputBucket(bucket="uploads", prefix=None)  # type: ignore[arg-type]
    assert "bucket is 'uploads': a bucket" in str(error.value)
    assert "prefix is None: a string" in str(error.value)


def test_a_bucket_is_named_once() -> None:
    service = light_service()
    bucket = uploads(service)
    part = InputBucket(bucket=bucket, prefix="a/")
    with pytest.raises(ValueError, match="buckets names 'Service/Uploads' 2 times"):
        InputImages(buckets=(bucket, bucket))
    with pytest.raises(ValueError, match="'Service/Uploads' under 'a/' 2 times"):
        InputImages(buckets=(part, part))
    with pytest.raises(ValueError, match="as a whole and under 'a/': one of the two"):
        InputImages(buckets=(bucket, part))
    other = InputBucket(bucket=bucket, prefix="b/")
    assert InputImages(buckets=(part, other)).buckets == (part, other)


def test_the_output_bucket_need_not_be_named() -> None:
    service = light_service()
    images = InputImages(buckets=(service.api.output_bucket,))
    with pytest.raises(ValueError, match=r"buckets\[0\] is the API's output bucket") as error:
        service.add_runtime("Any", Model.dynamic(), input_images=images, max_receive_count=0)
    assert "max_receive_count is 0" in str(error.value)


def test_what_is_no_such_value_is_refused() -> None:
    with pytest.raises(ValueError, match="input_images is True: an InputImages, such as"):
        light_service().add_runtime("Any", Model.dynamic(), input_images=True)


def test_a_bucket_of_another_region_is_refused() -> None:
    service = light_service(region="eu-west-1")
    far = s3.Bucket.from_bucket_attributes(
        service.stack, "Far", bucket_name="far", region="us-east-1"
    )
    images = InputImages(buckets=(far,))
    with pytest.raises(ValueError, match=r"input_images.buckets\[0\] is in us-east-1, and the"):
        service.add_runtime("Any", Model.dynamic(), input_images=images)
    # Where the region of the one or the other is not known, nobody can tell.
    unknown = light_service()
    unknown.add_runtime("Any", Model.dynamic(), input_images=images)


def test_a_bucket_of_a_stack_elsewhere_is_refused() -> None:
    service = light_service(region="eu-west-1")
    there = Environment(account="123456789012", region="us-east-1")
    far = s3.Bucket(Stack(service.app, "Far", env=there), "Uploads")
    with pytest.raises(ValueError, match=r"input_images.buckets\[0\] is in the stack 'Far' with"):
        service.add_runtime("Any", Model.dynamic(), input_images=InputImages(buckets=(far,)))
