"""The adapters against SNS, SQS and S3 as moto plays them, and against failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from moto import mock_aws

from cdk_stable_diffusion.contract import (
    HandlerEnvironment,
    RouteTable,
    TaskMessage,
    TaskRequest,
    new_task_id,
    timestamp,
)
from cdk_stable_diffusion.handler import app
from cdk_stable_diffusion.handler.adapters import (
    S3_CONFIG,
    SNS_CONFIG,
    S3Catalogue,
    SnsPublisher,
)
from cdk_stable_diffusion.handler.catalogue import CatalogueUnavailable
from cdk_stable_diffusion.handler.submit import MessageTooLarge, PublishFailed
from tests.handler.fakes import Context, event

ROUTES = RouteTable(static={"tiny-shapes": "tiny"}, dynamic="any")


def message(**fields: Any) -> TaskMessage:
    request = TaskRequest(model="tiny-shapes", prompt="a red circle", **fields)
    return TaskMessage(
        task_id=new_task_id(request, "caller"),
        submitted_at=timestamp(),
        runtime="tiny",
        runtime_class="static",
        request=request,
    )


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account of moto's."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


def subscribed_queue(topic_arn: str, filter_policy: dict[str, Any], name: str = "tasks") -> str:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    boto3.client("sns").subscribe(
        TopicArn=topic_arn,
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps(filter_policy)},
    )
    return url


def test_a_message_arrives_through_its_filter(aws: None) -> None:
    topic_arn = boto3.client("sns").create_topic(Name="requests")["TopicArn"]
    url = subscribed_queue(topic_arn, ROUTES.filter_policies("tiny")[0])
    publisher = SnsPublisher(boto3.client("sns", config=SNS_CONFIG), topic_arn)
    sent = message(context={"größe": "\uffff \ufffe 🎨"}, negative_prompt="\x01\x7f")
    publisher.publish(sent, None)

    (received,) = boto3.client("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"])[
        "Messages"
    ]
    assert TaskMessage.from_json(received["Body"]) == sent
    assert {
        name: value["StringValue"] for name, value in received["MessageAttributes"].items()
    } == sent.attributes()


def test_a_message_arrives_in_its_lane(aws: None) -> None:
    topic_arn = boto3.client("sns").create_topic(Name="requests")["TopicArn"]
    policies = RouteTable(dynamic="any", lanes=3).filter_policies("any")
    urls = [
        subscribed_queue(topic_arn, policy, name=f"lane-{lane}")
        for lane, policy in enumerate(policies)
    ]
    publisher = SnsPublisher(boto3.client("sns", config=SNS_CONFIG), topic_arn)
    # The third is of an API that knows of more lanes, the last of one that knows of none.
    for lane in (0, 2, 7, None):
        publisher.publish(replace(message(), runtime="any"), lane)
    assert [sorted(map(lane_of, received(url))) for url in urls] == [["-", "0", "7"], [], ["2"]]


def received(url: str) -> list[dict[str, Any]]:
    answer: Any = boto3.client("sqs").receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )
    return list(answer.get("Messages", ()))


def lane_of(message: dict[str, Any]) -> str:
    return str(message["MessageAttributes"].get("lane", {"StringValue": "-"})["StringValue"])


def test_models_are_found_by_their_manifest(aws: None) -> None:
    s3 = boto3.client("s3", config=S3_CONFIG)
    s3.create_bucket(Bucket="models-bucket")
    for key in (
        "models/whole/model.json",
        "models/whole/unet/weights",
        "models/half/unet/weights",
        "models/odd/model.json.bak",
        "elsewhere/model.json",
    ):
        s3.put_object(Bucket="models-bucket", Key=key, Body=b"{}")
    catalogue = S3Catalogue(s3, "models-bucket")
    assert catalogue.has("whole")
    assert not catalogue.has("half")
    assert not catalogue.has("odd")
    assert not catalogue.has("who")
    assert catalogue.names() == ["half", "odd", "whole"]


def test_a_bucket_that_cannot_be_read_is_not_an_empty_one(aws: None) -> None:
    catalogue = S3Catalogue(boto3.client("s3", config=S3_CONFIG), "no-such-bucket")
    with pytest.raises(CatalogueUnavailable, match="NoSuchBucket"):
        catalogue.has("any")
    with pytest.raises(CatalogueUnavailable):
        catalogue.names()


def test_a_missing_topic_is_a_failure(aws: None) -> None:
    publisher = SnsPublisher(
        boto3.client("sns", config=SNS_CONFIG), "arn:aws:sns:us-east-1:123456789012:gone"
    )
    with pytest.raises(PublishFailed, match="NotFound"):
        publisher.publish(message(), None)


def client_error(code: str, text: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": text}}, "Publish")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("Throttling"), PublishFailed),
        (client_error("InternalError"), PublishFailed),
        (client_error("AuthorizationError"), PublishFailed),
        (client_error("KMSAccessDenied"), PublishFailed),
        (client_error("InvalidParameter", "Invalid parameter: FilterPolicy"), PublishFailed),
        (client_error("InvalidParameter", "Invalid parameter: Message too long"), MessageTooLarge),
        (EndpointConnectionError(endpoint_url="https://sns"), PublishFailed),
        (ReadTimeoutError(endpoint_url="https://sns"), PublishFailed),
    ],
)
def test_whatever_sns_says_is_told_apart(error: Exception, expected: type[Exception]) -> None:
    class Sns:
        def publish(self, **_options: Any) -> None:
            raise error

    with pytest.raises(expected):
        SnsPublisher(Sns(), "arn").publish(message(), None)


def longest_seconds(config: Any) -> float:
    attempts = config.retries["total_max_attempts"]
    # Standard mode waits at most 1, 2, 4... seconds between attempts.
    waits = sum(2.0**attempt for attempt in range(attempts - 1))
    return float(attempts * (config.connect_timeout + config.read_timeout) + waits)


def test_timeouts_stay_within_the_functions_time() -> None:
    assert longest_seconds(SNS_CONFIG) + longest_seconds(S3_CONFIG) < 28
    # Looking for a model and then for names like it; a result, a cancellation and a progress.
    assert 3 * longest_seconds(S3_CONFIG) < 28


def test_the_whole_function(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    topic_arn = boto3.client("sns").create_topic(Name="requests")["TopicArn"]
    url = subscribed_queue(topic_arn, ROUTES.filter_policies("any")[0])
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="models-bucket")
    s3.put_object(Bucket="models-bucket", Key="models/dreamy/model.json", Body=b"{}")
    settings = HandlerEnvironment(
        request_topic_arn=topic_arn,
        output_bucket="pictures",
        model_bucket="models-bucket",
        routes=ROUTES.to_json(),
    )
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    app._submission.cache_clear()
    try:
        accepted = app.handler(event({"model": "dreamy", "prompt": "a cat"}), Context())
        refused = app.handler(event({"model": "dreamt", "prompt": "a cat"}), Context())
    finally:
        app._submission.cache_clear()
    assert accepted["statusCode"] == 202
    assert refused["statusCode"] == 404
    assert "near it are dreamy" in refused["body"]
    (received,) = boto3.client("sqs").receive_message(QueueUrl=url)["Messages"]
    task_id = json.loads(accepted["body"])["task_id"]
    assert TaskMessage.from_json(received["Body"]).task_id == task_id


def test_a_function_without_its_settings_answers_500_and_logs_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SD_REQUEST_TOPIC_ARN", "SD_OUTPUT_BUCKET", "SD_MODEL_BUCKET", "SD_ROUTES"):
        monkeypatch.delenv(name, raising=False)
    app._submission.cache_clear()
    answer = app.handler(event({"model": "dreamy", "prompt": "a cat"}), Context())
    assert answer["statusCode"] == 500
    assert "SD_MODEL_BUCKET is missing" in capsys.readouterr().out
