"""What input images need around them: an internet of one server, and a bucket or two."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from cdk_stable_diffusion.runtime_image.agent.inputs import InputImages, InputPolicy
from tests.inputs.server import HOST, Authority, Internet, Server

POLICY = InputPolicy(
    buckets=frozenset({"pictures", "uploads"}),
    hosts=frozenset({HOST, "Cdn.Example.ORG"}),
    max_bytes=50_000,
    max_pixels=10_000,
    seconds=5.0,
)


@dataclass
class Asked:
    """The part of a request that is read here."""

    image: str | None = None
    mask: str | None = None
    control_image: str | None = None


@dataclass
class FakeS3:
    """Objects in memory, or an error for every call."""

    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    error: str | None = None
    calls: list[tuple[str, str]] = field(default_factory=list)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self.calls.append((Bucket, Key))
        data = self.objects.get((Bucket, Key))
        code = self.error or ("NoSuchKey" if data is None else None)
        if code or data is None:
            raise ClientError({"Error": {"Code": code or "", "Message": "no"}}, "GetObject")
        body = StreamingBody(io.BytesIO(data), len(data))
        return {"ContentLength": len(data), "Body": body}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> Iterator[Server]:
    server = Server(authority.server_terms(HOST))
    yield server
    server.close()


@pytest.fixture
def internet(server: Server, authority: Authority) -> Internet:
    return Internet(server, authority.trusting)


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def images(internet: Internet, s3: FakeS3) -> InputImages:
    return InputImages(POLICY, s3, internet.network())
