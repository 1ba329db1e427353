"""What a client shows of an answer, and the sheet of pictures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from PIL import Image

from cdk_stable_diffusion.contract import Fault, problem
from cdk_stable_diffusion.local.aws import AwsAccess
from cdk_stable_diffusion.local.client import Client, ProblemAnswer
from cdk_stable_diffusion.local.contact_sheet import write_contact_sheet
from cdk_stable_diffusion.local.errors import LocalError

ANSWERS = {
    "problem": (
        400,
        json.dumps(
            problem(400, "Two faults.", [Fault("/width", "must be at most 2048"), Fault("", "x")])
        ),
    ),
    "nonsense": (502, "<html>"),
    "good": (200, '{"status": "running"}'),
}
asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        status, body = ANSWERS[self.path.split("/")[1]]
        asked.append(f"{self.command} {self.path} {self.headers['x-api-key']}")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_DELETE = do_POST

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def client_of(endpoint: str) -> Client:
    return Client(endpoint=endpoint, api_key="key", access=AwsAccess(endpoint_url=endpoint))


def test_every_fault_of_a_refused_task_is_readable(url: str) -> None:
    with pytest.raises(ProblemAnswer) as raised:
        client_of(f"{url}/problem").submit({})
    assert str(raised.value) == (
        "400 Bad request\n  Two faults.\n  /width: must be at most 2048\n  body: x"
    )


def test_an_answer_that_is_no_problem_document_is_shown(url: str) -> None:
    with pytest.raises(LocalError, match="answered 502 with b'<html>'"):
        client_of(f"{url}/nonsense").submit({})


def test_a_task_is_asked_for_and_cancelled_by_its_path(url: str) -> None:
    client = client_of(f"{url}/good")
    asked.clear()
    assert client.status("id-1") == client.cancel("id-1", "shop/7=a") == {"status": "running"}
    # Whatever is typed stays in its place, for the API to refuse.
    client.status("../other?x=1#y", "a b&c")
    assert asked == [
        "GET /good/v1/tasks/id-1 key",
        "DELETE /good/v1/tasks/id-1?output_prefix=shop/7%3Da key",
        "GET /good/v1/tasks/..%2Fother%3Fx%3D1%23y?output_prefix=a+b%26c key",
    ]


def test_a_task_that_is_refused_is_a_problem(url: str) -> None:
    client = client_of(f"{url}/problem")
    for ask in (client.status, client.cancel):
        with pytest.raises(ProblemAnswer, match="400 Bad request"):
            ask("id-1")


def test_nobody_there_is_an_error_for_people() -> None:
    with pytest.raises(LocalError, match="no answer from"):
        client_of("http://127.0.0.1:9").submit({})


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_sheet_holds_every_picture_and_its_label(tmp_path: Path, count: int) -> None:
    colours = [(40 * index, 10, 200) for index in range(count)]
    pictures = []
    for index, colour in enumerate(colours):
        file = tmp_path / f"{index}.png"
        Image.new("RGB", (64, 64), colour).save(file)
        pictures.append((file, f"picture {index}\nby someone"))
    sheet = tmp_path / "sheet.png"
    write_contact_sheet(pictures, sheet)
    with Image.open(sheet) as image:
        found = {colour for _count, colour in image.convert("RGB").getcolors(1 << 20) or ()}
    assert set(colours) <= found
    # The rest is white paper and dark letters.
    assert (255, 255, 255) in found
    assert min(sum(rgb) for rgb in found - set(colours) if isinstance(rgb, tuple)) < 60
