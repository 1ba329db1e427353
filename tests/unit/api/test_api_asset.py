"""The function's asset: the same everywhere, complete, and nothing but what it needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.api.asset import PACKAGE, asset_hash, handler_files


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The asset as it lies in an assembly."""
    out = tmp_path_factory.mktemp("out")
    app = cdk.App(outdir=str(out))
    SdApi(cdk.Stack(app, "Stack"), "Api")
    app.synth()
    (asset,) = (path for path in out.iterdir() if path.name.startswith("asset."))
    return asset


def test_the_hash_does_not_depend_on_place_time_or_caches(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "cdk_stable_diffusion"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("local", "runtime_image"))
    for path in copy.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    cache = copy / "handler" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "app.cpython-399.pyc").write_bytes(b"stale")
    (copy / "contract" / "notes.txt").write_text("not code")
    (copy / "api" / "more.py").write_text("# not shipped")
    assert asset_hash(handler_files(copy)) == asset_hash(handler_files())


def test_the_hash_depends_on_names_and_contents() -> None:
    files = {"a": b"1", "b": b"2"}
    assert asset_hash(files) == asset_hash(dict(reversed(files.items())))
    for other in ({"a": b"1", "b": b"3"}, {"a": b"1", "c": b"2"}, {"a": b"1"}, {"a": b"12"}):
        assert asset_hash(other) != asset_hash(files)


def test_it_holds_handler_and_contract_only(asset: Path) -> None:
    found = {path.relative_to(asset).as_posix() for path in asset.rglob("*") if path.is_file()}
    assert found == set(handler_files())
    assert {name.split("/")[1] for name in found} == {"__init__.py", "contract", "handler"}


def test_the_template_names_it(asset: Path) -> None:
    template = json.loads((asset.parent / "Stack.template.json").read_text())
    assert f"{asset.name.removeprefix('asset.')}.zip" in json.dumps(template)


def test_it_runs_by_itself(asset: Path) -> None:
    code = (
        "import json, sys\n"
        "from cdk_stable_diffusion.handler.app import handler\n"
        "import cdk_stable_diffusion\n"
        "event = {'resource': '/v1/tasks', 'httpMethod': 'POST', 'body': '{}'}\n"
        "answer = handler(event, None)\n"
        "print(json.dumps([answer['statusCode'], cdk_stable_diffusion.__file__]))\n"
        "assert not {'aws_cdk', 'jsii', 'torch'} & set(sys.modules)\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SD_")},
        "PYTHONPATH": str(asset),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SD_REQUEST_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:t",
        "SD_OUTPUT_BUCKET": "pictures",
        "SD_MODEL_BUCKET": "models",
        "SD_ROUTES": '{"static": {"m": "r"}, "dynamic": null}',
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    status, file = json.loads(shown.stdout.splitlines()[-1])
    assert status == 400
    assert Path(file).is_relative_to(asset)


def test_its_name_is_the_same_in_every_app(asset: Path, tmp_path: Path) -> None:
    app = cdk.App(outdir=str(tmp_path))
    for number in range(20):
        cdk.aws_sqs.Queue(cdk.Stack(app, f"Other-{number}"), "Queue")
    SdApi(cdk.Stack(app, "Another"), "Api", stage_name="beta")
    app.synth()
    assert (tmp_path / asset.name).is_dir()


@pytest.mark.slow
def test_without_staging_the_folder_outlives_the_app(tmp_path: Path) -> None:
    code = (
        "import aws_cdk as cdk\n"
        "from cdk_stable_diffusion.api import SdApi\n"
        "context = {'aws:cdk:disable-asset-staging': True}\n"
        "app = cdk.App(outdir='out', context=context)\n"
        "stack = cdk.Stack(app, 'Stack')\n"
        "SdApi(stack, 'Api')\n"
        "app.synth()\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True)
    manifest = tmp_path / "out" / "Stack.assets.json"
    sources = [
        Path(each["source"]["path"])
        for each in json.loads(manifest.read_text())["files"].values()
        if each["source"]["packaging"] == "zip"
    ]
    assert [source.is_dir() for source in sources] == [True]


def test_two_apis_share_it(tmp_path: Path) -> None:
    app = cdk.App(outdir=str(tmp_path))
    stack = cdk.Stack(app, "Stack")
    SdApi(stack, "One")
    SdApi(stack, "Two")
    app.synth()
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("asset.")]) == 1
