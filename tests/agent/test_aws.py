"""What the agent's clients do otherwise than botocore's usual ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agent.scene import Scene


@pytest.mark.parametrize(("size", "asks"), [(0, False), (1 << 20, False), ((1 << 20) + 1, True)])
def test_only_what_is_large_is_asked_about_before_it_is_sent(
    scene: Scene, size: int, asks: bool
) -> None:
    s3 = scene.clients().s3
    headers: list[dict[str, Any]] = []
    s3.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: headers.append(dict(request.headers))
    )
    body = b"x" * size
    s3.put_object(Bucket=scene.output_bucket, Key="picture", Body=body, IfNoneMatch="*")
    assert ["Expect" in each for each in headers] == [asks]
    assert scene.read("picture") == body


class NotSent(Exception):
    """Ends a call before anything is sent."""


@pytest.mark.parametrize(("size", "asks"), [(10, False), (2 << 20, True)])
def test_what_is_encrypted_on_its_way_is_sent_as_well(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, size: int, asks: bool
) -> None:
    # There botocore sends the body in pieces, with its checksum behind them.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://localhost")
    s3 = scene.clients().s3
    headers: list[dict[str, Any]] = []

    def keep(request: Any, **_: Any) -> None:
        headers.append(dict(request.headers))
        raise NotSent

    s3.meta.events.register("before-send.s3.PutObject", keep)
    with pytest.raises(NotSent):
        s3.put_object(Bucket=scene.output_bucket, Key="picture", Body=b"x" * size)
    assert ["Expect" in each for each in headers] == [asks]
    assert headers[0]["X-Amz-Decoded-Content-Length"] == str(size).encode()


def test_a_message_is_published_as_it_is(scene: Scene) -> None:
    message = '{"prompt": "ein Kreis & 紅い円 🔴 = 100 % + a/b"}\n'
    attribute = {"DataType": "String", "StringValue": "ä & b=c"}
    scene.clients().sns.publish(
        TopicArn=scene.topic, Message=message, MessageAttributes={"status": attribute}
    )
    (received,) = scene.sqs.receive_message(
        QueueUrl=scene.results, WaitTimeSeconds=5, MessageAttributeNames=["All"]
    )["Messages"]
    assert received["Body"] == message
    assert received["MessageAttributes"]["status"]["StringValue"] == attribute["StringValue"]
