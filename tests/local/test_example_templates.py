"""The examples' templates: what of them is deployed on this machine, and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdk_stable_diffusion.contract import RouteTable
from cdk_stable_diffusion.contract.keys import model_manifest_key
from cdk_stable_diffusion.contract.lanes import lane_of_task, lanes_of
from cdk_stable_diffusion.local.aws import AwsAccess
from cdk_stable_diffusion.local.client import Client
from cdk_stable_diffusion.local.deployment import Deployment, deploy
from cdk_stable_diffusion.local.emulator import Emulator
from cdk_stable_diffusion.local.result_queue import filtered_queues
from cdk_stable_diffusion.local.runtimes import find_runtimes
from cdk_stable_diffusion.local.synthesis import Synthesis, find_app
from cdk_stable_diffusion.local.template import LEFT_OUT, is_left_out

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNTIMES = {
    "quickstart": {"tiny-shapes", "any-model"},
    "production": {"portraits", "posters", "any-model"},
    "auto_mode": {"sdxl", "any-model"},
    "existing_cluster": {"sdxl", "any-model"},
}


def test_every_example_is_tried() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/cdk.json")} == set(RUNTIMES)


@pytest.mark.parametrize(
    "example",
    # The others have the same types, and differ in what is left out.
    [
        pytest.param(each, marks=[] if each == "quickstart" else pytest.mark.slow)
        for each in RUNTIMES
    ],
)
def test_exactly_the_listed_types_are_left_out_and_all_others_are_deployed(
    tmp_path: Path, example: str
) -> None:
    assembly = tmp_path / "cdk.out"
    said: list[str] = []
    app = find_app(EXAMPLES / example)
    with Synthesis(app, assembly) as synthesis, Emulator() as emulator:
        synthesis.wait()
        deployment = deploy(assembly, emulator.access, say=said.append)
        cloudformation = emulator.access.client("cloudformation")
        deployed = {
            (stack["StackName"], each["LogicalResourceId"])
            for stack in cloudformation.describe_stacks()["Stacks"]
            for page in cloudformation.get_paginator("list_stack_resources").paginate(
                StackName=stack["StackName"]
            )
            for each in page["StackResourceSummaries"]
            if each["ResourceStatus"] == "CREATE_COMPLETE"
        }

    types = {
        (file.name.removesuffix(".template.json"), logical_id): resource["Type"]
        for file in assembly.glob("*.template.json")
        for logical_id, resource in json.loads(file.read_text())["Resources"].items()
    }
    assert deployed == {each for each, kind in types.items() if not is_left_out(kind)}
    assert deployment.left_out == {kind for kind in types.values() if is_left_out(kind)}
    for kind in deployment.left_out:
        assert any(kind.rpartition("::")[2] in each for each in said)
    # What the service itself is made of can never be among them.
    families = {kind.rpartition("::")[0] for kind in deployment.left_out}
    assert families <= {
        "AWS::CloudWatch",
        "AWS::EC2",
        "AWS::ECR",
        "AWS::EKS",
        "AWS::IAM",
        "AWS::Lambda",
        "AWS::StepFunctions",
        "Custom",
    }
    for family, kinds in (
        ("AWS::CloudWatch", {"Alarm"}),
        ("AWS::Lambda", {"LayerVersion"}),
        ("AWS::IAM", {"Policy"}),
    ):
        gone = {kind for kind in deployment.left_out if kind.startswith(f"{family}::")}
        assert gone <= {f"{family}::{kind}" for kind in kinds}
    assert {each.name for each in find_runtimes(deployment.manifests)} == RUNTIMES[example]


def test_every_entry_of_the_list_has_a_reason() -> None:
    assert all(reason and len(reason) < 100 for reason in LEFT_OUT.values())


LANES = 4
SEVERAL_STACKS = """
import aws_cdk as cdk
from cdk_stable_diffusion import Model, SdApi, SdEksCluster, SdRuntime

app = cdk.App()
api = SdApi(cdk.Stack(app, "ApiStack"), "Api")
api.add_result_queue("Failures", status="failed")
api.add_result_queue("All")
cluster = SdEksCluster(cdk.Stack(app, "ClusterStack"), "Cluster")
# The dynamic runtime first: the API must know the static ones that come later.
dynamic = Model.dynamic(lanes=4, spread={"hot": 2})
SdRuntime(cdk.Stack(app, "One"), "Any", api=api, cluster=cluster, model=dynamic)
SdRuntime(cdk.Stack(app, "Two"), "Sdxl", api=api, cluster=cluster, model=Model.static("sdxl"))
app.synth()
"""


@pytest.fixture(scope="module")
def several_stacks(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Deployment, AwsAccess]]:
    """An app of several stacks, deployed, without agents."""
    folder = tmp_path_factory.mktemp("several-stacks")
    (folder / "app.py").write_text(SEVERAL_STACKS)
    assembly = folder / "cdk.out"
    with Synthesis(find_app(folder / "app.py"), assembly) as synthesis, Emulator() as emulator:
        synthesis.wait()
        yield deploy(assembly, emulator.access), emulator.access


@pytest.mark.slow
def test_an_app_of_several_stacks_is_deployed_with_its_references(
    several_stacks: tuple[Deployment, AwsAccess],
) -> None:
    deployment, access = several_stacks
    sns = access.client("sns")
    policies = {}
    for each in sns.list_subscriptions()["Subscriptions"]:
        arn = each["SubscriptionArn"]
        attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        policy = json.loads(attributes.get("FilterPolicy") or "null")
        policies[each["Endpoint"].rpartition(":")[2]] = policy
    queues = filtered_queues(deployment.physical_ids("result-queue"), access)
    assert [each.filter_policy for each in queues] == [{"status": ["failed"]}, None]
    runtimes = {each.name: each for each in find_runtimes(deployment.manifests)}
    assert set(runtimes) == {"any", "sdxl"}
    routes = RouteTable(static={"sdxl": "sdxl"}, dynamic="any", lanes=LANES)
    for name, runtime in runtimes.items():
        settings = runtime.settings
        urls = settings.lane_queue_urls or (settings.queue_url,)
        found = [policies[url.rpartition("/")[2]] for url in urls]
        assert found == list(routes.filter_policies(name))
        assert settings.output_bucket == deployment.physical_ids("output-bucket")[0]
        assert settings.result_topic_arn == deployment.physical_ids("result-topic")[0]
    assert runtimes["any"].lanes == LANES
    overflow = runtimes["any"].settings.overflow_queue_url
    assert access.client("sqs").get_queue_attributes(QueueUrl=overflow, AttributeNames=["All"])
    assert overflow.rpartition("/")[2] not in policies


@pytest.mark.slow
def test_tasks_of_several_models_reach_the_lane_of_their_model(
    several_stacks: tuple[Deployment, AwsAccess],
) -> None:
    deployment, access = several_stacks
    settings = {each.name: each.settings for each in find_runtimes(deployment.manifests)}
    models = ["sdxl", "hot", *(f"model-{number}" for number in range(8))]
    s3, sqs = access.client("s3"), access.client("sqs")
    for model in models:
        s3.put_object(
            Bucket=settings["any"].model_bucket, Key=model_manifest_key(model), Body=b"{}"
        )
    api, stage, key = (
        deployment.physical_ids(mark)[0] for mark in ("rest-api", "stage", "api-key")
    )
    client = Client(
        endpoint=f"{access.endpoint_url}/_aws/execute-api/{api}/{stage}",
        api_key=access.client("apigateway").get_api_key(apiKey=key, includeValue=True)["value"],
        access=access,
    )
    sent = {}
    for model in models:
        for seed in range(6):
            task = client.submit({"model": model, "prompt": "a red circle", "seed": seed})
            sent[task.task_id] = model
    arrived: dict[str, tuple[str, int]] = {}
    for name in ("any", "sdxl"):
        urls = settings[name].lane_queue_urls or (settings[name].queue_url,)
        for lane, url in enumerate(urls):
            while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
                "Messages"
            ):
                for message in messages:
                    task_id = json.loads(message["Body"])["task_id"]
                    assert task_id not in arrived
                    arrived[task_id] = (name, lane)
    assert arrived == {
        task_id: ("sdxl", 0)
        if model == "sdxl"
        else ("any", lane_of_task(model, task_id, LANES, 2 if model == "hot" else 1))
        for task_id, model in sent.items()
    }
    lanes = {model: {arrived[task][1] for task in sent if sent[task] == model} for model in models}
    # So that the test could fail: not all in one lane, and the hot model in both of its own.
    assert len(set().union(*lanes.values())) == LANES
    assert lanes["hot"] == set(lanes_of("hot", LANES, 2))
