"""Which replicas live: by locked files on one machine, by the Kubernetes API in a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cdk_stable_diffusion.runtime_image.agent import kubernetes_members, members
from cdk_stable_diffusion.runtime_image.agent.kubernetes_members import KubernetesMembers
from cdk_stable_diffusion.runtime_image.agent.members import FileMembers
from tests.agent.processes import PYTHON_PATH
from tests.agent.scene import wait_until


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a replica does."""
    monkeypatch.setattr(members, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(kubernetes_members, "_LOOK_SECONDS", 0.02)


# Files


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Any]:
    """Let replicas join, and leave in the end."""
    joined: list[FileMembers] = []

    def join(name: str, *, ready: bool = True) -> FileMembers:
        joined.append(FileMembers(tmp_path / "replicas", name, is_ready=lambda: ready))
        joined[-1].start()
        return joined[-1]

    yield join
    for each in joined:
        each.leave()


def test_replicas_find_each_other_and_see_who_leaves(join: Any) -> None:
    one, other = join("one"), join("a strange/name.")
    both = ("a strange/name.", "one")
    wait_until(lambda: one.members() == both, "one sees both")
    wait_until(lambda: other.members() == both, "the other sees both")
    other.leave()
    wait_until(lambda: one.members() == ("one",), "one sees that it is alone")


def test_before_anything_was_seen_a_replica_knows_of_itself(tmp_path: Path) -> None:
    alone = FileMembers(tmp_path / "replicas", "one", is_ready=lambda: True)
    assert alone.members() == ("one",)


def test_who_cannot_take_tasks_is_no_home(join: Any) -> None:
    one, starting = join("one"), join("starting", ready=False)
    wait_until(lambda: "one" in starting.members(), "the one that starts has looked")
    assert one.members() == ("one",)
    # For itself it is one, since somebody must be.
    assert "starting" in starting.members()


def test_who_is_killed_is_a_member_no_more(join: Any, tmp_path: Path) -> None:
    code = (
        "import pathlib, time\n"
        "from cdk_stable_diffusion.runtime_image.agent.members import FileMembers\n"
        f"directory = pathlib.Path({str(tmp_path / 'replicas')!r})\n"
        "FileMembers(directory, 'other', is_ready=lambda: True).start()\n"
        "time.sleep(3600)\n"
    )
    one = join("one")
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": PYTHON_PATH}
    ) as process:
        wait_until(lambda: one.members() == ("one", "other"), "one sees the other")
        process.kill()
        wait_until(lambda: one.members() == ("one",), "one sees that the other is gone")


# Kubernetes


class _Api:
    """A Kubernetes API with one answer."""

    def __init__(self) -> None:
        self.endpoints: list[dict[str, Any]] = []
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.asked.append((self.path, self.headers["Authorization"]))
                self.send_response(api.status)
                self.end_headers()
                # Two slices, of which one has none, as Kubernetes says it.
                slices = [{"endpoints": api.endpoints}, {"endpoints": None}]
                self.wfile.write(json.dumps({"items": slices}).encode())

            def log_message(self, *arguments: object) -> None:
                """Write nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pod(self, name: str, **conditions: bool) -> None:
        self.endpoints.append(
            {
                "addresses": ["10.0.0.1"],
                "conditions": conditions,
                "targetRef": {"kind": "Pod", "name": name, "namespace": "sd"},
            }
        )


@pytest.fixture
def api() -> Iterator[_Api]:
    """A Kubernetes API on this machine."""
    made = _Api()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def in_a_pod(api: _Api, tmp_path: Path) -> Iterator[KubernetesMembers]:
    """What the pod "me" sees of the Service "sd/sdxl"."""
    (tmp_path / "token").write_text("secret\n")
    made = KubernetesMembers("sd/sdxl", "me", api_url=api.url, account=tmp_path)
    yield made
    made.leave()


def test_the_ready_pods_of_the_service_are_the_replicas(
    api: _Api, in_a_pod: KubernetesMembers, tmp_path: Path
) -> None:
    api.pod("me", ready=True, serving=True, terminating=False)
    api.pod("silent")
    api.pod("starting", ready=False)
    api.pod("ending", ready=False, serving=True, terminating=True)
    api.endpoints.append({"addresses": ["10.0.0.2"], "conditions": {"ready": True}})
    assert in_a_pod.members() == ("me",)
    in_a_pod.start()
    wait_until(lambda: in_a_pod.members() == ("me", "silent"), "the view is there")
    path, authorization = api.asked[0]
    assert urlsplit(path).path == "/apis/discovery.k8s.io/v1/namespaces/sd/endpointslices"
    assert parse_qs(urlsplit(path).query) == {
        "labelSelector": ["kubernetes.io/service-name=sdxl"],
        "resourceVersion": ["0"],
    }
    assert authorization == "Bearer secret"
    # Kubernetes replaces the token before it ends.
    (tmp_path / "token").write_text("another")
    wait_until(lambda: api.asked[-1][1] == "Bearer another", "the new token is used")


def test_without_an_answer_the_last_view_stands(api: _Api, in_a_pod: KubernetesMembers) -> None:
    api.pod("other", ready=True)
    in_a_pod.start()
    wait_until(lambda: in_a_pod.members() == ("me", "other"), "the view is there")
    api.endpoints.clear()
    api.status = 403
    asked = len(api.asked)
    wait_until(lambda: len(api.asked) > asked + 1, "it has asked again")
    assert in_a_pod.members() == ("me", "other")
    api.status = 200
    wait_until(lambda: in_a_pod.members() == ("me",), "the view is new")
