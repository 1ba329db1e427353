"""A model goes to a bucket: its files first, the manifest that makes it whole last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cdk_stable_diffusion.contract import InvalidModel, ModelManifest
from cdk_stable_diffusion.local import model_cli
from cdk_stable_diffusion.local.publishing import publish_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "my-model"
    (directory / "unet").mkdir(parents=True)
    (directory / "model_index.json").write_text("{}")
    (directory / "unet" / "weights.bin").write_bytes(b"1234")
    (directory / "generation_defaults.json").write_text('{"steps": 8}')
    return directory


class Recorder:
    """An S3 that notes the order of what is put."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def upload_file(self, file: str, bucket: str, key: str) -> None:
        self.keys.append(key)

    def put_object(self, **request: Any) -> None:
        self.keys.append(request["Key"])


def test_the_manifest_goes_last(model: Path) -> None:
    recorder = Recorder()
    publish_model(model, "bucket", recorder, name="mine")
    assert recorder.keys[-1] == "models/mine/model.json"
    assert sorted(recorder.keys[:-1]) == [
        "models/mine/generation_defaults.json",
        "models/mine/model_index.json",
        "models/mine/unet/weights.bin",
    ]


def test_what_is_no_model_is_not_uploaded(tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(InvalidModel, match=r"model_index\.json"):
        publish_model(tmp_path, "bucket", recorder)
    assert recorder.keys == []


def test_the_command_uploads_to_the_account_of_the_credentials(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        s3 = boto3.client("s3")
        where: Any = {"LocationConstraint": "eu-west-1"}
        s3.create_bucket(Bucket="models", CreateBucketConfiguration=where)
        assert model_cli.main(["push", str(model), "s3://models"]) == 0
        assert capsys.readouterr().out == "s3://models/models/my-model/\n"
        body = s3.get_object(Bucket="models", Key="models/my-model/model.json")["Body"].read()
        manifest = ModelManifest.from_json(body.decode())
        assert manifest == ModelManifest.of_directory(model, "my-model")
        assert manifest.defaults.steps == 8
        weights = s3.get_object(Bucket="models", Key="models/my-model/unet/weights.bin")
        assert weights["Body"].read() == b"1234"


def test_a_bucket_that_is_not_there_is_told_without_a_traceback(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        assert model_cli.main(["push", str(model), "s3://nowhere"]) == 1
    assert "sd-model: " in capsys.readouterr().err


def test_a_manifest_can_be_read_back(model: Path) -> None:
    manifest = ModelManifest.of_directory(model, "my-model")
    assert json.loads(manifest.to_json())["name"] == "my-model"
