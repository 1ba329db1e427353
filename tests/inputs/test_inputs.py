"""Input images that are taken, and how they are come by."""

from __future__ import annotations

import io
import ipaddress
import socket
import ssl
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cdk_stable_diffusion.contract import AgentEnvironment
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.inputs import InputImages, InputPolicy
from cdk_stable_diffusion.runtime_image.agent.inputs.addresses import is_public
from cdk_stable_diffusion.runtime_image.agent.inputs.network import Network
from cdk_stable_diffusion.runtime_image.agent.inputs.picture import check_picture
from cdk_stable_diffusion.runtime_image.agent.inputs.refusal import InputRefused
from cdk_stable_diffusion.runtime_image.agent.inputs.url import parse_https_url
from tests.contract import strategies as made
from tests.inputs.conftest import Asked, FakeS3
from tests.inputs.files import data_url, jpeg_of_scans, jpeg_with_segment, picture
from tests.inputs.server import HOST, PUBLIC, PUBLIC_6, Internet, Server, says


def test_a_task_without_input_images_fetches_nothing(
    images: InputImages, internet: Internet, s3: FakeS3
) -> None:
    assert images.resolve(Asked()) == {}
    assert (internet.looked_up, s3.calls) == ([], [])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_each_way_gives_the_files_own_bytes(
    kind: str, images: InputImages, server: Server, s3: FakeS3
) -> None:
    data = picture(kind)
    s3.objects["pictures", "shop/7 é/a?b#c.png"] = data
    server.answer = says("200 OK", "Content-Type: text/plain", body=data)
    for reference in (
        data_url(data, "jpeg"),
        "s3://pictures/shop/7 é/a?b#c.png",
        f"https://{HOST}/a.png",
    ):
        assert images.resolve(Asked(image=reference, mask=reference)) == {
            "image": data,
            "mask": data,
        }


def test_a_failure_names_its_field(images: InputImages) -> None:
    with pytest.raises(TaskFailure, match=r"^mask must be a PNG"):
        images.resolve(Asked(image=data_url(picture()), mask=data_url(b"hunter2")))


def test_the_connection_goes_to_the_address_that_was_checked(
    images: InputImages, internet: Internet, server: Server
) -> None:
    # A name server that changes its mind between check and connection.
    internet.answers = [[PUBLIC], ["127.0.0.1"], ["169.254.169.254"]]
    server.answer = says("200 OK", body=picture())
    images.resolve(Asked(image=f"https://{HOST.upper()}:443?size=large"))
    assert internet.looked_up == [HOST]
    assert internet.connected == [PUBLIC]
    assert server.names == [HOST]
    head = server.requests[0].split("\r\n")
    assert head[0] == "GET /?size=large HTTP/1.1"
    assert head.count(f"Host: {HOST}") == 1
    assert [line for line in head if line.lower().startswith("accept-encoding")] == [
        "Accept-Encoding: identity"
    ]
    assert not any("authorization" in line.lower() or "cookie" in line.lower() for line in head)


def test_another_of_the_checked_addresses_serves_as_well(
    images: InputImages, internet: Internet, server: Server
) -> None:
    internet.answers = [[PUBLIC_6, PUBLIC]]
    internet.unreachable = {PUBLIC_6}
    server.answer = says("200 OK", body=picture())
    assert images.resolve(Asked(image=f"https://{HOST}/"))
    assert internet.connected == [PUBLIC_6, PUBLIC]


def test_a_host_that_cannot_be_reached_may_be_reached_later(
    images: InputImages, internet: Internet
) -> None:
    internet.unreachable = {PUBLIC}
    with pytest.raises(TaskFailure, match="connected to") as caught:
        images.resolve(Asked(image=f"https://{HOST}/"))
    assert caught.value.transient


def test_an_address_that_nobody_answers_at_leaves_time_for_the_others(
    internet: Internet, server: Server, s3: FakeS3
) -> None:
    waited: list[float] = []
    connect = internet.network().connect

    def patient(address: str, timeout: float) -> socket.socket:
        waited.append(timeout)
        if address != PUBLIC:
            raise TimeoutError
        return connect(address, timeout)

    internet.answers = [[PUBLIC_6, "2600::1", PUBLIC]]
    server.answer = says("200 OK", body=picture())
    network = replace(internet.network(), connect=patient)
    policy = InputPolicy(hosts=frozenset({HOST}), seconds=6.0)
    assert InputImages(policy, s3, network).resolve(Asked(image=f"https://{HOST}/"))
    assert waited == [pytest.approx(seconds, abs=0.5) for seconds in (2, 3, 6)]


def test_a_host_is_looked_up_by_its_full_name_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def answer(*arguments: object, **_options: object) -> list[tuple[object, ...]]:
        asked.append(arguments)
        return [(0, 0, 0, "", (address, 443)) for address in (PUBLIC, PUBLIC_6, PUBLIC)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert list(Network().resolve(HOST)) == [PUBLIC, PUBLIC_6]
    # Without the dot, a pod's resolver tries the names of its cluster first.
    assert asked == [(f"{HOST}.", 443)]


def _no_such_host(_host: str) -> list[str]:
    raise socket.gaierror("no such host")


def test_a_host_that_cannot_be_looked_up_may_be_later(s3: FakeS3) -> None:
    policy = InputPolicy(hosts=frozenset({HOST}))
    network = Network(resolve=_no_such_host)
    with pytest.raises(TaskFailure, match="looked up") as caught:
        InputImages(policy, s3, network).resolve(Asked(image=f"https://{HOST}/"))
    assert caught.value.transient


def test_a_name_server_that_does_not_answer_is_not_waited_for(s3: FakeS3) -> None:
    from threading import Event

    policy = InputPolicy(hosts=frozenset({HOST}), seconds=0.2)
    answered = Event()
    network = Network(resolve=lambda _: ["" for _ in range(int(answered.wait(30)))])
    with pytest.raises(TaskFailure, match="looked up"):
        InputImages(policy, s3, network).resolve(Asked(image=f"https://{HOST}/"))
    answered.set()


def test_proxies_of_the_environment_are_not_asked(
    images: InputImages,
    internet: Internet,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answer = says("200 OK", body=picture())
    assert images.resolve(Asked(image=f"https://{HOST}/"))
    assert internet.connected == [PUBLIC]
    assert server.requests[0].startswith("GET / ")


def test_nothing_but_data_urls_is_allowed_by_default(internet: Internet, s3: FakeS3) -> None:
    images = InputImages(InputPolicy(), s3, internet.network())
    for reference in (f"https://{HOST}/", "s3://pictures/a.png"):
        with pytest.raises(TaskFailure, match="may not come from"):
            images.resolve(Asked(image=reference))
    assert images.resolve(Asked(image=data_url(picture())))
    assert (internet.looked_up, s3.calls) == ([], [])


def test_of_a_part_of_a_bucket_nothing_else_is_read(s3: FakeS3) -> None:
    policy = InputPolicy(buckets=frozenset({"shop/products/", "uploads"}))
    data = picture()
    keys = ("products/a.png", "products", "products2/a.png", "a/products/a.png", "Products/a.png")
    s3.objects = {(bucket, key): data for bucket in ("shop", "uploads") for key in keys}
    images = InputImages(policy, s3)
    assert images.resolve(Asked(image="s3://shop/products/a.png")) == {"image": data}
    for key in keys[1:]:
        assert images.resolve(Asked(image=f"s3://uploads/{key}"))
        s3.calls.clear()
        with pytest.raises(TaskFailure, match="may not come from"):
            images.resolve(Asked(image=f"s3://shop/{key}"))
        assert s3.calls == []
    with pytest.raises(TaskFailure, match="may not come from"):
        images.resolve(Asked(image="s3://uploads2/a.png"))


@given(made.agent_environments())
def test_an_agents_settings_allow_its_output_bucket_and_what_they_name(
    environment: AgentEnvironment,
) -> None:
    policy = InputPolicy.of(environment)
    assert policy.buckets == {environment.output_bucket, *environment.input_buckets}
    assert policy.hosts == set(environment.input_hosts)
    assert (policy.max_bytes, policy.max_pixels) == (
        environment.max_input_bytes,
        environment.max_input_pixels,
    )


def test_the_terms_of_tls_are_strict() -> None:
    terms = Network().tls
    assert terms.check_hostname
    assert terms.verify_mode is ssl.CERT_REQUIRED
    assert terms.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    "code", ["NoSuchKey", "AccessDenied", "NoSuchBucket", "InvalidObjectState"]
)
def test_an_object_that_cannot_be_read_is_a_fault_of_the_task(
    code: str, images: InputImages, s3: FakeS3
) -> None:
    s3.error = code
    with pytest.raises(TaskFailure) as caught:
        images.resolve(Asked(image="s3://pictures/a.png"))
    assert (caught.value.code, caught.value.transient) == ("input-invalid", False)


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "ServiceUnavailable"])
def test_trouble_of_s3_is_left_to_whoever_tries_again(
    code: str, images: InputImages, s3: FakeS3
) -> None:
    s3.error = code
    with pytest.raises(ClientError):
        images.resolve(Asked(image="s3://pictures/a.png"))


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (100, 100)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + bytes(500)}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + bytes(20)}),
    ],
)
def test_the_size_is_read_as_the_decoder_reads_it(
    kind: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    data = picture(kind, size, **options)
    header = check_picture(data, max_bytes=10**6, max_pixels=10_000)
    with Image.open(io.BytesIO(data)) as image:
        assert (header.format, (header.width, header.height)) == (image.format, image.size)


@pytest.mark.parametrize(
    "data",
    [
        jpeg_of_scans(100),
        jpeg_with_segment(b"\xff\xda\x00\x02" * 500),
        picture("JPEG") + b"\xff\xda\x00\x02" * 500,
        picture("JPEG")[:-2],
    ],
    ids=["as many as may be", "in what a program wrote", "behind the picture", "without an end"],
)
def test_only_the_scans_of_a_jpeg_are_counted(data: bytes) -> None:
    assert check_picture(data, max_bytes=10**6, max_pixels=128).format == "JPEG"


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]))
def test_any_bytes_are_taken_or_refused(data: bytes, start: bytes) -> None:
    try:
        header = check_picture(start + data, max_bytes=1_000, max_pixels=100)
    except InputRefused:
        return
    assert 1 <= header.width * header.height <= 100


@given(st.binary(max_size=60))
def test_any_start_of_a_webp_is_taken_or_refused(data: bytes) -> None:
    for kind in (b"VP8X", b"VP8L", b"VP8 "):
        try:
            check_picture(b"RIFF\0\0\0\0WEBP" + kind + data, max_bytes=1_000, max_pixels=100)
        except InputRefused:
            continue


@given(st.text(max_size=40) | st.from_regex(r"https://[!-~]{1,40}", fullmatch=True))
def test_any_text_is_one_plain_url_or_refused(text: str) -> None:
    from urllib.parse import urlsplit

    try:
        url = parse_https_url(text)
    except InputRefused:
        return
    # Where it is taken, another parser must see the same host in it.
    parts = urlsplit(text)
    assert (parts.scheme, parts.hostname, parts.username) == ("https", url.host, None)
    assert parts.port in (None, 443)
    assert url.target.startswith("/")


@given(st.ip_addresses())
def test_no_address_is_public_that_python_calls_private(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public(str(address)):
        assert not (
            address.is_private
            or address.is_loopback
            or address.is_link_local
            or address.is_multicast
            or address.is_reserved
            or address.is_unspecified
        )


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_6, "1.1.1.1", "223.255.255.255", "2600::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)
