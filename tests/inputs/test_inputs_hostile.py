"""The corpus of hostile inputs: what each would reach or break, and that it does not."""

from __future__ import annotations

import base64
import io
import ssl
import struct
import time
import zlib
from dataclasses import replace

import pytest

from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.inputs import InputImages
from cdk_stable_diffusion.runtime_image.agent.inputs.picture import check_picture
from cdk_stable_diffusion.runtime_image.agent.inputs.refusal import InputRefused
from tests.inputs.conftest import POLICY, Asked, FakeS3
from tests.inputs.files import (
    data_url,
    jpeg_of_scans,
    jpeg_that_says,
    picture,
    png_that_says,
    webp_that_says,
)
from tests.inputs.server import (
    HOST,
    PUBLIC,
    PUBLIC_6,
    Answer,
    Authority,
    Internet,
    Server,
    says,
    says_for_ever,
)

SECRET = "hunter2"
SAID = f"https://{HOST}/{SECRET}.png"


def refused(images: InputImages, reference: str) -> TaskFailure:
    """Resolve, and check what every refusal has in common."""
    with pytest.raises(TaskFailure) as caught:
        images.resolve(Asked(image=reference))
    failure = caught.value
    assert failure.code == "input-invalid"
    assert failure.detail.startswith("image ")
    assert SECRET not in failure.detail
    assert HOST not in failure.detail
    assert "data:image" not in failure.detail.replace("data:image/png;base64, (or", "")
    return failure


# Spellings that must not even lead to a look-up: the reference, and what the refusal says.
REFERENCES: dict[str, tuple[str, str]] = {
    "empty": ("", "must be a data:, s3:// or https://"),
    "plain text": ("a cat", "must be a data:"),
    "file": ("file:///etc/hunter2", "must be a data:"),
    "path": ("/etc/passwd", "must be a data:"),
    "path that climbs": ("../../proc/self/environ", "must be a data:"),
    "http": (f"http://{HOST}/hunter2", "must be a data:"),
    "ftp": (f"ftp://{HOST}/hunter2", "must be a data:"),
    "gopher": (f"gopher://{HOST}/_hunter2", "must be a data:"),
    "no scheme": (f"//{HOST}/hunter2", "must be a data:"),
    "blank in front": (f" https://{HOST}/hunter2", "must be a data:"),
    "line break in front": (f"\nhttps://{HOST}/hunter2", "must be a data:"),
    "scheme twice": (f"https://https://{HOST}/hunter2", "no port but 443"),
    "one slash": (f"https:/{HOST}/hunter2", "must be a data:"),
    "three slashes": (f"https:///{HOST}/hunter2", "must be https:// with the name"),
    "no host": ("https://", "must be https:// with the name"),
    "another host": ("https://evil.example.com/hunter2", "host that input images may not"),
    "a host below": (f"https://hunter2.{HOST}/", "host that input images may not"),
    "a host above": ("https://example.org/hunter2", "host that input images may not"),
    "a host that ends so": (f"https://hunter2{HOST}/", "host that input images may not"),
    "a host that begins so": (f"https://{HOST}.hunter2.com/", "host that input images may not"),
    "a trailing dot": (f"https://{HOST}./hunter2", "full DNS name"),
    "localhost": ("https://localhost/hunter2", "full DNS name"),
    "loopback": ("https://127.0.0.1/hunter2", "full DNS name"),
    "loopback, short": ("https://127.1/hunter2", "full DNS name"),
    "loopback, decimal": ("https://2130706433/hunter2", "full DNS name"),
    "loopback, octal": ("https://0177.0.0.01/hunter2", "full DNS name"),
    "loopback, hexadecimal": ("https://0x7f000001/hunter2", "full DNS name"),
    "loopback, hexadecimal parts": ("https://0x7f.0x0.0x0.0x1/hunter2", "full DNS name"),
    "loopback, IPv6": ("https://[::1]/hunter2", "must be https:// with the name"),
    "loopback, mapped": ("https://[::ffff:127.0.0.1]/hunter2", "must be https:// with the name"),
    "zero": ("https://0/hunter2", "full DNS name"),
    "metadata": ("https://169.254.169.254/latest/meta-data/", "full DNS name"),
    "metadata, decimal": ("https://2852039166/latest/meta-data/", "full DNS name"),
    "metadata, IPv6": ("https://[fd00:ec2::254]/latest/", "must be https:// with the name"),
    "Pod Identity": ("https://169.254.170.23/v1/credentials", "full DNS name"),
    "a name of the cluster": ("https://kubernetes.default.svc/api", "host that input images"),
    "metadata, mapped": ("https://[::ffff:a9fe:a9fe]/latest/", "must be https:// with the name"),
    "metadata, 6to4": ("https://[2002:a9fe:a9fe::]/latest/", "must be https:// with the name"),
    "metadata, NAT64": ("https://[64:ff9b::a9fe:a9fe]/latest/", "must be https:// with the name"),
    "metadata by name": ("https://metadata.google.internal/hunter2", "host that input images"),
    "two trailing dots": (f"https://{HOST}../hunter2", "full DNS name"),
    "a host in Punycode": ("https://xn--imges-3fa.example.org/hunter2", "host that input images"),
    "credentials": (f"https://user:hunter2@{HOST}/", "must not carry credentials"),
    "a user": (f"https://hunter2@{HOST}/", "must not carry credentials"),
    "host as credentials": (f"https://{HOST}@hunter2.com/", "must not carry credentials"),
    "credentials with a port": (f"https://{HOST}:443@hunter2.com/", "must not carry credentials"),
    "host before a backslash": (f"https://hunter2.com\\@{HOST}/", "backslashes"),
    "host after a backslash": (f"https://{HOST}\\hunter2", "backslashes"),
    "host before a fragment": (f"https://hunter2.com#@{HOST}/", "fragment"),
    "a fragment": (f"https://{HOST}/a#hunter2", "fragment"),
    "another port": (f"https://{HOST}:8443/hunter2", "no port but 443"),
    "the port of SSH": (f"https://{HOST}:22/hunter2", "no port but 443"),
    "an empty port": (f"https://{HOST}:/hunter2", "no port but 443"),
    "a port with zeros": (f"https://{HOST}:00443/hunter2", "no port but 443"),
    "a port that wraps": (f"https://{HOST}:65979/hunter2", "no port but 443"),
    "header injection": (f"https://{HOST}/ HTTP/1.1\r\nX: hunter2", "printable ASCII"),
    "a tab in the host": (f"https://{HOST[:4]}\t{HOST[4:]}/hunter2", "printable ASCII"),
    "a zero byte": (f"https://{HOST}\0.hunter2.com/", "printable ASCII"),
    "a full-width dot": ("https://images\uff0eexample.org/hunter2", "printable ASCII"),
    "an ideographic dot": ("https://169\u3002254\u3002169\u3002254/hunter2", "printable ASCII"),
    "circled digits": ("https://①⑥⑨.254.169.254/hunter2", "printable ASCII"),
    "a Cyrillic letter": ("https://im\u0430ges.example.org/hunter2", "printable ASCII"),
    "a soft hyphen": (f"https://{HOST[:3]}\u00ad{HOST[3:]}/hunter2", "printable ASCII"),
    "percent in the host": (f"https://{HOST}%2fhunter2.com/", "full DNS name"),
    "a lone surrogate": (f"https://{HOST}/\ud800", "printable ASCII"),
    "too long a URL": (f"https://{HOST}/{'a' * 3000}", "2048 characters"),
    "too long a host": (f"https://{'a.' * 130}org/hunter2", "full DNS name"),
    "another bucket": ("s3://hunter2/a.png", "bucket that input images may not"),
    "a bucket that begins so": ("s3://pictures-hunter2/a.png", "bucket that input images"),
    "a bucket's ARN": ("s3://arn:aws:s3:us-east-1:1:accesspoint/hunter2", "must be s3://bucket"),
    "an alias of an access point": ("s3://hunter2-a1b2c3-s3alias/a.png", "bucket that input"),
    "a bucket's host": ("s3://pictures.s3.amazonaws.com/hunter2", "bucket that input images may"),
    "a bucket with a port": ("s3://pictures:443/hunter2", "must be s3://bucket"),
    "a bucket in capitals": ("s3://PICTURES/hunter2", "must be s3://bucket"),
    "a bucket with a user": ("s3://hunter2@pictures/a.png", "must be s3://bucket"),
    "no key": ("s3://pictures/", "must be s3://bucket"),
    "no bucket": ("s3:///hunter2", "must be s3://bucket"),
    "a key with a line break": ("s3://pictures/hunter2\r\n", "must be s3://bucket"),
    "a key that climbs": ("s3://pictures/../hunter2/a.png", "must not have . or .."),
    "a key that ends climbing": ("s3://pictures/hunter2/..", "must not have . or .."),
    "too long a key": (f"s3://pictures/{'é' * 600}", "must be s3://bucket"),
    "a data URL of text": ("data:text/html;base64,aHVudGVyMg==", "data URL must begin"),
    "a data URL of SVG": ("data:image/svg+xml;base64,PHN2Zz4=", "data URL must begin"),
    "a data URL with parameters": ("data:image/png;name=hunter2;base64,AA==", "must begin"),
    "a data URL without base64": ("data:image/png,hunter2", "data URL must begin"),
    "a data URL that is not base64": ("data:image/png;base64,hunter2!", "must hold base64"),
    "a data URL with line breaks": ("data:image/png;base64,iVBO\nRw0K", "must hold base64"),
    "a data URL of URL-safe base64": ("data:image/png;base64,_-__", "must hold base64"),
    "a data URL that is not ASCII": ("data:image/png;base64,éééé", "must hold base64"),
    "a data URL cut off": ("data:image/png;base64,iVBOR", "must hold base64"),
    "an empty data URL": ("data:image/png;base64,", "must be a PNG, JPEG or WebP"),
    "a data URL that is too large": (data_url(bytes(60_000)), "at most 50000 bytes"),
    "a data URL that is far too large": (data_url(bytes(300_000)), "at most 50000 bytes"),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_that_breaks_a_rule_reaches_nothing(
    name: str, images: InputImages, internet: Internet, s3: FakeS3
) -> None:
    reference, reason = REFERENCES[name]
    failure = refused(images, reference)
    assert reason in failure.detail
    assert not failure.transient
    assert (internet.looked_up, internet.connected, s3.calls) == ([], [], [])


# Addresses that a name server may answer with and that nobody may be led to.
ADDRESSES = {
    "this network": "0.0.0.0",
    "this network, too": "0.1.2.3",
    "private 10": "10.0.0.1",
    "private 172": "172.16.5.4",
    "private 172, its end": "172.31.255.255",
    "private 192": "192.168.1.1",
    "shared": "100.64.0.1",
    "metadata elsewhere": "100.100.100.200",
    "loopback": "127.0.0.1",
    "loopback, its end": "127.255.255.254",
    "metadata": "169.254.169.254",
    "Pod Identity": "169.254.170.23",
    "container credentials": "169.254.170.2",
    "time": "169.254.169.123",
    "protocol assignments": "192.0.0.192",
    "documentation": "203.0.113.7",
    "benchmarks": "198.19.0.1",
    "6to4 relay": "192.88.99.1",
    "multicast": "224.0.0.251",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "unspecified, IPv6": "::",
    "loopback, IPv6": "::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped public": "::ffff:93.184.215.14",
    "translated": "::ffff:0:127.0.0.1",
    "compatible": "::127.0.0.1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe",
    "NAT64 of a public address": "64:ff9b::5db8:d70e",
    "local NAT64": "64:ff9b:1::a9fe:a9fe",
    "discard": "100::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "6to4 of loopback": "2002:7f00:1::",
    "documentation, IPv6": "2001:db8::1",
    "new documentation": "3fff::1",
    "unique local": "fc00::1",
    "metadata, IPv6": "fd00:ec2::254",
    "link-local, IPv6": "fe80::1",
    "link-local with a zone": "fe80::1%eth0",
    "public with a zone": f"{PUBLIC_6}%eth0",
    "site-local": "fec0::1",
    "multicast, IPv6": "ff02::1",
    "segment routing": "5f00::1",
    "octal": "0177.0.0.1",
    "decimal": "2130706433",
    "nonsense": "not an address",
    "empty": "",
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_host_with_an_address_that_is_not_public_is_not_connected_to(
    name: str, images: InputImages, internet: Internet
) -> None:
    for answer in ([ADDRESSES[name]], [PUBLIC, ADDRESSES[name]], [PUBLIC_6, PUBLIC_6, PUBLIC] * 3):
        poisoned = [*answer, ADDRESSES[name]]
        internet.answers = [poisoned]
        failure = refused(images, SAID)
        assert "address that is not public" in failure.detail
        assert not failure.transient
    assert internet.connected == []


def _chunks(size: int) -> bytes:
    return f"{size:x}\r\n".encode() + bytes(size) + b"\r\n"


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_METADATA = "http://169.254.169.254/latest/meta-data/iam/hunter2"

# What a host may answer: the answer, what the refusal says, whether another try may go better.
ANSWERS: dict[str, tuple[Answer, str, bool]] = {
    **{
        f"redirect {status}": (says(status, f"Location: {_METADATA}"), "redirect", False)
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Moved", "308 Moved")
    },
    "redirect to itself": (says("302 Found", f"Location: {SAID}"), "redirect", False),
    "refresh": (
        says("200 OK", f"Refresh: 0; url={_METADATA}", body=b"<html>"),
        "PNG, JPEG or WebP",
        False,
    ),
    "not there": (says("404 Not Found", body=b"hunter2"), "status 404", False),
    "partial": (says("206 Partial", body=picture()), "status 206", False),
    "no content": (says("204 No Content"), "status 204", False),
    "a fault of its own": (says("500 Oops", body=b"hunter2"), "status 500", True),
    "too many requests": (says("429 Slow down"), "status 429", True),
    "a page that says it is a picture": (
        says("200 OK", "Content-Type: image/png", body=b"<html>hunter2</html>"),
        "PNG, JPEG or WebP",
        False,
    ),
    "too large, as it says": (
        says("200 OK", "Content-Length: 99999999999"),
        "at most 50000 bytes",
        False,
    ),
    "too large, though it says otherwise": (
        says_for_ever(_CHUNKED, _chunks(8192)),
        "at most 50000 bytes",
        False,
    ),
    "too large without a word": (
        says_for_ever(b"HTTP/1.1 200 OK\r\n\r\n", bytes(8192)),
        "at most 50000 bytes",
        False,
    ),
    "one large chunk": (
        says_for_ever(_CHUNKED + b"7fffffff\r\n", bytes(8192)),
        "at most 50000 bytes",
        False,
    ),
    "a negative length": (
        says("200 OK", "Content-Length: -1", body=b"hunter2" * 10_000),
        "at most 50000 bytes",
        False,
    ),
    "a compressed bomb": (
        says("200 OK", "Content-Encoding: gzip", body=zlib.compress(bytes(10_000_000))),
        "compressed",
        False,
    ),
    "two lengths": (
        says("200 OK", "Content-Length: 99999", "Content-Length: 9", body=picture()),
        "at most 50000 bytes",
        False,
    ),
    "a length that is no number": (
        says("200 OK", "Content-Length: 0x9", body=b"hunter2" * 10_000),
        "at most 50000 bytes",
        False,
    ),
    "a chunk of no length": (
        says("200 OK", "Transfer-Encoding: chunked", body=b"hunter2\r\n"),
        "could not be fetched",
        True,
    ),
    "chunks without the last": (
        says("200 OK", "Transfer-Encoding: chunked", body=_chunks(10)),
        "could not be fetched",
        True,
    ),
    "another protocol": (says("101 Switching Protocols", "Upgrade: x"), "status 101", False),
    "a compressed bomb by another name": (
        says("200 OK", "Content-Encoding: br, identity", body=bytes(10)),
        "compressed",
        False,
    ),
    "less than it says": (
        says("200 OK", "Content-Length: 5000", body=picture()),
        "could not be fetched",
        True,
    ),
    "endless headers": (
        says_for_ever(b"HTTP/1.1 200 OK\r\n", b"X-Header: hunter2\r\n"),
        "could not be fetched",
        True,
    ),
    "a header without end": (
        says_for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"hunter2" * 1000),
        "could not be fetched",
        True,
    ),
    "not HTTP": (says_for_ever(b"hunter2", b"SSH-2.0-OpenSSH"), "could not be fetched", True),
    "nothing": (lambda _: None, "could not be fetched", True),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hosts_answer_is_not_trusted(
    name: str, images: InputImages, internet: Internet, server: Server
) -> None:
    server.answer, reason, transient = ANSWERS[name]
    failure = refused(images, SAID)
    assert reason in failure.detail
    assert failure.transient is transient
    assert internet.connected == [PUBLIC]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        says_for_ever(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n", b"x", 0.05),
        says_for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
        says_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
        says_for_ever(_CHUNKED + b"0\r\n", b"X-Trailer: hunter2\r\n"),
    ],
    ids=["body", "header", "continue", "trailers"],
)
def test_a_host_that_drips_is_cut_off_in_time(
    answer: Answer, internet: Internet, server: Server, s3: FakeS3
) -> None:
    images = InputImages(replace(POLICY, seconds=0.5), s3, internet.network())
    server.answer = answer
    began = time.monotonic()
    failure = refused(images, SAID)
    assert time.monotonic() - began < 3
    assert failure.transient
    assert "longer than 0.5 s" in failure.detail


@pytest.mark.parametrize("certificate", ["other.example.org", "*.org", "hunter2"])
def test_a_certificate_for_another_host_is_refused(
    certificate: str, authority: Authority, s3: FakeS3
) -> None:
    server = Server(authority.server_terms(certificate))
    internet = Internet(server, authority.trusting)
    try:
        failure = refused(InputImages(POLICY, s3, internet.network()), SAID)
    finally:
        server.close()
    assert "certificate" in failure.detail
    assert not failure.transient
    assert server.requests == []


def test_a_certificate_of_nobody_known_is_refused(internet: Internet, s3: FakeS3) -> None:
    internet.trusting = ssl.create_default_context()
    failure = refused(InputImages(POLICY, s3, internet.network()), SAID)
    assert "certificate" in failure.detail
    assert internet.server.requests == []


def _riff(kind: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + kind + bytes(100)


# Files that begin like no picture, or like one that is too large: the file, what is said of it.
FILES: dict[str, tuple[bytes, str]] = {
    "text": (b"hunter2", "PNG, JPEG or WebP"),
    "markup": (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///'/>", "PNG, JPEG"),
    "GIF": (picture("GIF"), "PNG, JPEG or WebP"),
    "TIFF": (picture("TIFF"), "PNG, JPEG or WebP"),
    "BMP": (picture("BMP"), "PNG, JPEG or WebP"),
    "ICO": (picture("ICO"), "PNG, JPEG or WebP"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PNG, JPEG or WebP"),
    "PDF": (b"%PDF-1.7\n", "PNG, JPEG or WebP"),
    "pickle": (b"\x80\x04cos\nsystem\n", "PNG, JPEG or WebP"),
    "archive": (b"PK\x03\x04" + bytes(40), "PNG, JPEG or WebP"),
    "film": (_riff(b"AVI "), "PNG, JPEG or WebP"),
    "sound": (_riff(b"WAVE"), "PNG, JPEG or WebP"),
    "PNG behind text": (b"x" + picture(), "PNG, JPEG or WebP"),
    "PNG cut off": (picture()[:18], "PNG, JPEG or WebP"),
    "PNG without a header": (picture().replace(b"IHDR", b"tEXt"), "PNG, JPEG or WebP"),
    "PNG of no width": (png_that_says(0, 8), "1 to 10000 pixels, has 0"),
    "PNG bomb": (png_that_says(65_535, 65_535), "1 to 10000 pixels, has 4294836225"),
    "PNG as large as can be": (png_that_says(2**32 - 1, 2**32 - 1), "1 to 10000 pixels"),
    "PNG one pixel too wide": (png_that_says(10_001, 1), "1 to 10000 pixels, has 10001"),
    "JPEG bomb": (jpeg_that_says(65_535, 65_535), "1 to 10000 pixels, has 4294836225"),
    "JPEG of no height": (jpeg_that_says(8, 0), "1 to 10000 pixels, has 0"),
    "JPEG cut off": (picture("JPEG")[:30], "PNG, JPEG or WebP"),
    "JPEG of fill alone": (b"\xff\xd8" + b"\xff" * 30_000, "PNG, JPEG or WebP"),
    "JPEG behind endless fill": (
        b"\xff\xd8" + b"\xff" * 20_000 + picture("JPEG")[2:],
        "PNG, JPEG or WebP",
    ),
    "JPEG of segments alone": (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 9_000, "PNG, JPEG or WebP"),
    "JPEG with a segment of no length": (b"\xff\xd8\xff\xe0\x00\x00" * 9, "PNG, JPEG or WebP"),
    "JPEG of endless scans": (jpeg_of_scans(101), "JPEG of at most 100 scans"),
    "JPEG of endless scans behind fill": (
        jpeg_of_scans(101).replace(b"\xff\xda", b"\xff\xff\xff\xda"),
        "JPEG of at most 100 scans",
    ),
    "JPEG of endless scans cut off": (jpeg_of_scans(101)[:-2], "JPEG of at most 100 scans"),
    "JPEG of endless segments behind its size": (
        picture("JPEG")[:-2] + b"\xff\xe0\x00\x02" * 10_000,
        "at most 10000 segments",
    ),
    "WebP bomb": (webp_that_says(16_383, 16_383), "1 to 10000 pixels, has 268402689"),
    "WebP as large as can be": (webp_that_says(2**24, 2**24), "1 to 10000 pixels"),
    "WebP cut off": (webp_that_says(8, 8)[:26], "PNG, JPEG or WebP"),
    "WebP of an unknown kind": (_riff(b"WEBP"), "PNG, JPEG or WebP"),
    "too many bytes": (picture() + bytes(50_000), "at most 50000 bytes"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_bearable_picture_goes_no_further(
    name: str, images: InputImages, server: Server, s3: FakeS3
) -> None:
    data, reason = FILES[name]
    s3.objects["uploads", SECRET] = data
    server.answer = says("200 OK", "Content-Type: image/png", body=data)
    for reference in (f"s3://uploads/{SECRET}", SAID, data_url(data)):
        failure = refused(images, reference)
        assert reason in failure.detail
        assert not failure.transient


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    different = (
        {reference for reference, _ in REFERENCES.values()},
        set(ADDRESSES.values()),
        ANSWERS.keys(),
        {data for data, _ in FILES.values()},
    )
    assert [len(each) for each in different] == [
        len(REFERENCES),
        len(ADDRESSES),
        len(ANSWERS),
        len(FILES),
    ]
    assert sum(map(len, different)) >= 200


class _Unread(io.BytesIO):
    def read(self, _size: int | None = -1) -> bytes:
        raise AssertionError("is read")


def test_what_is_too_large_is_not_even_read(
    images: InputImages, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        s3, "get_object", lambda **_: {"ContentLength": 50_001, "Body": _Unread()}, raising=True
    )
    assert "at most 50000 bytes" in refused(images, "s3://uploads/a.png").detail

    def never(*_: object, **__: object) -> bytes:
        raise AssertionError("is decoded")

    large = data_url(bytes(60_000))
    monkeypatch.setattr(base64, "b64decode", never)
    assert "at most 50000 bytes" in refused(images, large).detail
    with pytest.raises(InputRefused, match="at most 100 bytes"):
        check_picture(picture() + bytes(100), max_bytes=100, max_pixels=128)


def test_a_padded_data_url_is_counted_before_it_is_decoded(images: InputImages) -> None:
    just = base64.b64encode(picture() + bytes(50_000 - len(picture()))).decode()
    assert images.resolve(Asked(image=f"data:image/png;base64,{just}"))
