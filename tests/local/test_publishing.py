"""A model goes to a bucket: its files first, the manifest that makes it whole last."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from cdk_stable_diffusion.contract import InvalidModel, ModelManifest
from cdk_stable_diffusion.local import model_cli
from cdk_stable_diffusion.local.publishing import publish_model
from tests.contract.safetensors_files import KOHYA, safetensors


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "my-model"
    (directory / "unet").mkdir(parents=True)
    (directory / "model_index.json").write_text("{}")
    (directory / "unet" / "weights.safetensors").write_bytes(b"1234")
    (directory / "generation_defaults.json").write_text('{"steps": 8}')
    return directory


class Recorder:
    """An S3 that notes the order of what is put."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def upload_file(self, file: str, bucket: str, key: str) -> None:
        self.keys.append(key)

    def get_object(self, **request: Any) -> Any:
        raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")

    def put_object(self, **request: Any) -> None:
        self.keys.append(request["Key"])


def test_the_manifest_goes_last(model: Path) -> None:
    recorder = Recorder()
    publish_model(model, "bucket", recorder, name="mine")
    assert recorder.keys[-1] == "models/mine/model.json"
    assert sorted(recorder.keys[:-1]) == [
        "models/mine/generation_defaults.json",
        "models/mine/model_index.json",
        "models/mine/unet/weights.safetensors",
    ]


def test_what_is_no_model_is_not_uploaded(tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(InvalidModel, match=r"model_index\.json"):
        publish_model(tmp_path, "bucket", recorder)
    assert recorder.keys == []


def test_a_checkpoint_alone_is_a_model(tmp_path: Path) -> None:
    checkpoint = safetensors({"model.diffusion_model.weight": (8, 8)})
    (tmp_path / "painter.safetensors").write_bytes(checkpoint)
    recorder = Recorder()
    publish_model(tmp_path, "bucket", recorder, name="mine")
    assert recorder.keys == ["models/mine/painter.safetensors", "models/mine/model.json"]
    (tmp_path / "another.safetensors").write_bytes(checkpoint)
    with pytest.raises(InvalidModel, match=r"no single \.safetensors file"):
        publish_model(tmp_path, "bucket", recorder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("painter.ckpt", r"painter\.ckpt is refused: reading it can run code"),
        ("Painter.PT", r"Painter\.PT is refused"),
        ("painter.safetensors", "painter.safetensors is refused: it is a pickle"),
    ],
)
@pytest.mark.parametrize("start", [b"PK\x03\x04\0\0\0\0\0\0", b"\x80\x04\x95\x10\0\0\0\0\0\0"])
def test_a_pickle_is_not_uploaded(tmp_path: Path, name: str, says: str, start: bytes) -> None:
    (tmp_path / name).write_bytes(start)
    recorder = Recorder()
    with pytest.raises(InvalidModel, match=says) as caught:
        publish_model(tmp_path, "bucket", recorder)
    assert len(caught.value.faults) == 1
    assert recorder.keys == []


def test_a_header_may_be_as_long_as_a_pickle_begins(tmp_path: Path) -> None:
    header = b'{"double_blocks.0":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}'
    header += b" " * (0x280 - len(header) - 1) + b"}"
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert ModelManifest.of_directory(tmp_path, "m").size == 8 + 0x280


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
        weights = s3.get_object(Bucket="models", Key="models/my-model/unet/weights.safetensors")
        assert weights["Body"].read() == b"1234"


def test_a_lora_is_published_as_a_file_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    file = tmp_path / "pixel-art.safetensors"
    shapes = {f"{KOHYA}.lora_down.weight": (4, 768), f"{KOHYA}.lora_up.weight": (320, 4)}
    file.write_bytes(safetensors(shapes))
    (tmp_path / "other.safetensors").write_bytes(b"not to be looked at")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="models")
        assert model_cli.main(["push", str(file), "s3://models"]) == 0
        told = capsys.readouterr()
        assert told.out == "s3://models/models/pixel-art/\n"
        assert "pixel-art is a LoRA adapter\n" in told.err
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket="models")["Contents"]]
        body = s3.get_object(Bucket="models", Key="models/pixel-art/model.json")["Body"].read()
    assert keys == ["models/pixel-art/model.json", "models/pixel-art/pixel-art.safetensors"]
    assert ModelManifest.from_json(body.decode()).kind == "lora"


def test_an_adapter_does_not_take_the_place_of_a_model(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    file = tmp_path / "my-model.safetensors"
    shapes = {f"{KOHYA}.lora_down.weight": (4, 768), f"{KOHYA}.lora_up.weight": (320, 4)}
    file.write_bytes(safetensors(shapes))
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="models")
        push = ["push", "--name", "my-model"]
        assert model_cli.main([*push, str(model), "s3://models"]) == 0
        before = [each["Key"] for each in s3.list_objects_v2(Bucket="models")["Contents"]]
        capsys.readouterr()
        assert model_cli.main([*push, str(file), "s3://models"]) == 1
        assert "'my-model' in s3://models is a model, and this is a LoRA adapter" in (
            capsys.readouterr().err
        )
        after = [each["Key"] for each in s3.list_objects_v2(Bucket="models")["Contents"]]
        assert after == before
        # A new version of the same kind is what a name is published again for.
        assert model_cli.main([*push, str(model), "s3://models"]) == 0
        # What cannot be read is no reason to keep anything out.
        s3.put_object(Bucket="models", Key="models/my-model/model.json", Body=b"\xff")
        assert model_cli.main([*push, str(file), "s3://models"]) == 0


def test_who_may_not_read_may_publish(model: Path) -> None:
    class WriteOnly(Recorder):
        def get_object(self, **request: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")

    s3 = WriteOnly()
    publish_model(model, "bucket", s3)
    assert s3.keys[-1] == "models/my-model/model.json"


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "circle.png").write_bytes(b"\x89PNG")
    with pytest.raises(InvalidModel) as caught:
        publish_model(tmp_path / "circle.png", "bucket", Recorder())
    assert str(caught.value) == (
        "invalid model directory: circle.png is neither a .safetensors file nor a directory"
    )


def test_a_bucket_that_is_not_there_is_told_without_a_traceback(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        assert model_cli.main(["push", str(model), "s3://nowhere"]) == 1
    assert capsys.readouterr().err == "sd-model: there is no bucket nowhere\n"


def test_without_credentials_one_is_told_those_of_the_local_service(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert model_cli.main(["push", str(model), "s3://models"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    for word in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"):
        assert word in line
    assert "AWS_REGION=" in line


@pytest.mark.parametrize("name", ["", "../other", "my model", "-x"])
def test_a_name_that_no_model_can_have_is_refused_before_anything_is_read(
    model: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert model_cli.main(["push", str(model), "s3://models", f"--name={name}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no model can be called {name!r}" in line


def test_a_bucket_that_cannot_be_one_is_told_in_one_line(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        assert model_cli.main(["push", str(model), "s3://no bucket!"]) == 1
    assert len([each for each in capsys.readouterr().err.splitlines() if "sd-model" in each]) == 1


def test_a_manifest_can_be_read_back(model: Path) -> None:
    manifest = ModelManifest.of_directory(model, "my-model")
    assert json.loads(manifest.to_json())["name"] == "my-model"
