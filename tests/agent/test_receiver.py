"""Receiving: only when asked, and never into nobody's hands."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import Any

import boto3
import pytest
from botocore.config import Config

from cdk_stable_diffusion.runtime_image.agent.leases import Leases
from cdk_stable_diffusion.runtime_image.agent.poll import AbortablePoll
from cdk_stable_diffusion.runtime_image.agent.receiver import Receiver
from cdk_stable_diffusion.runtime_image.agent.returns import Returns
from cdk_stable_diffusion.runtime_image.agent.shutdown import Shutdown
from cdk_stable_diffusion.runtime_image.agent.task_queue import TaskQueue
from tests.agent.scene import Scene, wait_until


class _Parts:
    def __init__(self, scene: Scene) -> None:
        clients = scene.clients()
        self.polls = 0
        clients.waiting_sqs.meta.events.register(
            "provide-client-params.sqs.ReceiveMessage", self._count
        )
        self.shutdown = Shutdown()
        queue = TaskQueue(
            clients.sqs,
            queue_urls=(scene.queue,),
            dead_letter_queue_url=scene.dead_letters,
            lease_seconds=20,
        )
        self.leases = Leases(queue, lease_seconds=20)
        self.receiver = Receiver(
            queue,
            AbortablePoll(clients.waiting_sqs),
            self.leases,
            self.shutdown,
            Returns(queue, self.leases, clients.s3, scene.output_bucket, max_tries=2).give_back,
        )
        self.receiver.start(lambda: None)

    def _count(self, **_: object) -> None:
        self.polls += 1


def test_a_message_is_taken_only_when_one_is_wanted(scene: Scene) -> None:
    parts = _Parts(scene)
    for prompt in ("first", "second"):
        scene.send(prompt=prompt)
    message = parts.receiver.next()
    assert message is not None and message.receive_count == 1
    assert parts.leases.held() == [message]
    # An agent that is busy leaves the second to others.
    assert scene.left() == (1, 1)
    assert parts.polls == 1
    parts.shutdown.request(1)
    assert parts.receiver.stop(5)


def test_stopping_does_not_wait_for_a_message(scene: Scene) -> None:
    parts = _Parts(scene)
    waiting = threading.Thread(target=lambda: found.append(parts.receiver.next()))
    found: list[object] = []
    waiting.start()
    wait_until(lambda: parts.polls == 1, "the poll")
    began = time.monotonic()
    parts.shutdown.request(10)
    parts.receiver.stop(0.2)
    waiting.join(1)
    assert found == [None]
    assert time.monotonic() - began < 2


def test_a_message_that_comes_to_an_abandoned_poll_is_given_back(scene: Scene) -> None:
    parts = _Parts(scene)
    threading.Thread(target=parts.receiver.next, daemon=True).start()
    wait_until(lambda: parts.polls == 1, "the poll")
    parts.shutdown.request(10)
    parts.receiver.stop(0.0)
    scene.send()
    # Whether or not the emulator hands it to the connection that said goodbye.
    wait_until(lambda: scene.left() == (1, 0), "the message is there for others", seconds=5)
    assert not parts.leases.held()
    parts.receiver.stop(2)
    assert scene.left() == (1, 0)


def test_a_connection_that_the_service_closed_meanwhile_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    closed = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once_a_connection() -> None:
            for _ in range(2):
                connection, _address = server.accept()
                with connection, connection.makefile("rwb") as stream:
                    length = 0
                    while (line := stream.readline().strip().lower()) != b"":
                        if line.startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    stream.read(length)
                    # Says nothing of closing, as SQS does when a connection was idle for long.
                    stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                closed.set()

        threading.Thread(target=answer_once_a_connection, daemon=True).start()
        sqs: Any = boto3.Session().client(
            "sqs",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{server.getsockname()[1]}",
            config=Config(retries={"total_max_attempts": 1}),
        )
        poll = AbortablePoll(sqs)
        poll.client().receive_message(QueueUrl="http://queue")
        assert closed.wait(5)
        poll.client().receive_message(QueueUrl="http://queue")


def test_a_poll_that_is_cut_before_it_has_a_connection_asks_for_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = scene.clients()
    poll = AbortablePoll(clients.waiting_sqs)
    connect = http.client.HTTPConnection.connect

    def connect_late(connection: http.client.HTTPConnection) -> None:
        poll.abort()
        connect(connection)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect_late)
    scene.send()
    with pytest.raises(ConnectionAbortedError):
        poll.client().receive_message(QueueUrl=scene.queue)
    assert scene.left() == (1, 0)
