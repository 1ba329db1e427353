"""The emulator, what is mended in it, and how templates are deployed to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from cdk_stable_diffusion.local.deployment import deploy
from cdk_stable_diffusion.local.emulator import Emulator
from cdk_stable_diffusion.local.errors import LocalError

HANDLER = """
import json, os
import boto3
def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=event["body"])
    return {"statusCode": 202, "body": "accepted"}
"""
SCHEMA = {"type": "object", "required": ["prompt"]}
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}},
}


def api_template(bucket: str) -> dict[str, Any]:
    """Return an API that demands an object with a prompt, and hands it to a queue."""
    uri = (
        "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/${Function.Arn}/invocations"
    )
    return {
        "Resources": {
            "Queue": {
                "Type": "AWS::SQS::Queue",
                "Metadata": {"cdk-stable-diffusion": "task-queue"},
            },
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "Properties": {
                    "LifecycleConfiguration": {
                        "Rules": [{"Id": "old", "Status": "Enabled", "ExpirationInDays": 3}]
                    }
                },
                "Metadata": {"cdk-stable-diffusion": "output-bucket"},
            },
            "Role": ROLE,
            "Function": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": "python3.13",
                    "Handler": "code.handler",
                    "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                    "Code": {"S3Bucket": bucket, "S3Key": "code.zip"},
                    "Environment": {"Variables": {"QUEUE": {"Ref": "Queue"}}},
                },
            },
            "Api": {
                "Type": "AWS::ApiGateway::RestApi",
                "Properties": {"Name": "api"},
                "Metadata": {"cdk-stable-diffusion": "rest-api"},
            },
            "Model": {
                "Type": "AWS::ApiGateway::Model",
                "Properties": {
                    "RestApiId": {"Ref": "Api"},
                    "Name": "Task",
                    "ContentType": "application/json",
                    "Schema": SCHEMA,
                },
            },
            "Validator": {
                "Type": "AWS::ApiGateway::RequestValidator",
                "Properties": {"RestApiId": {"Ref": "Api"}, "ValidateRequestBody": True},
            },
            "Method": {
                "Type": "AWS::ApiGateway::Method",
                "Properties": {
                    "RestApiId": {"Ref": "Api"},
                    "ResourceId": {"Fn::GetAtt": ["Api", "RootResourceId"]},
                    "HttpMethod": "POST",
                    "AuthorizationType": "NONE",
                    "RequestModels": {"application/json": {"Ref": "Model"}},
                    "RequestValidatorId": {"Ref": "Validator"},
                    "Integration": {
                        "Type": "AWS_PROXY",
                        "IntegrationHttpMethod": "POST",
                        "Uri": {"Fn::Sub": uri},
                    },
                },
            },
            "Refusal": {
                "Type": "AWS::ApiGateway::GatewayResponse",
                "Properties": {
                    "RestApiId": {"Ref": "Api"},
                    "ResponseType": "BAD_REQUEST_BODY",
                    "ResponseParameters": {
                        "gatewayresponse.header.Content-Type": "'application/problem+json'"
                    },
                    "ResponseTemplates": {"application/json": '{"title":"Bad request"}'},
                },
            },
            "Deployment": {
                "Type": "AWS::ApiGateway::Deployment",
                "Properties": {"RestApiId": {"Ref": "Api"}},
                "DependsOn": ["Method", "Refusal"],
            },
            "Stage": {
                "Type": "AWS::ApiGateway::Stage",
                "Properties": {
                    "RestApiId": {"Ref": "Api"},
                    "DeploymentId": {"Ref": "Deployment"},
                    "StageName": "prod",
                },
            },
        }
    }


def write_assembly(
    directory: Path, stacks: Sequence[tuple[str, dict[str, Any], Sequence[str]]]
) -> Path:
    """Write a cloud assembly: stacks with name, template and the names that each depends on."""
    artifacts: dict[str, Any] = {}
    code = directory / "code"
    code.mkdir()
    (code / "code.py").write_text(HANDLER)
    for name, template, needs in stacks:
        (directory / f"{name}.json").write_text(json.dumps(template))
        entry = {
            "source": {"path": "code", "packaging": "zip"},
            "destinations": {"here": {"bucketName": "assets", "objectKey": "code.zip"}},
        }
        (directory / f"{name}.assets.json").write_text(json.dumps({"files": {"code": entry}}))
        artifacts[f"{name}.assets"] = {
            "type": "cdk:asset-manifest",
            "properties": {"file": f"{name}.assets.json"},
        }
        artifacts[name] = {
            "type": "aws:cloudformation:stack",
            "properties": {"templateFile": f"{name}.json"},
            "dependencies": [f"{name}.assets", *needs],
        }
    (directory / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return directory


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    # Many a user's shell names a proxy, which must not come between.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Emulator() as running:
        yield running


def post(url: str, body: bytes) -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"], error.read()


def test_it_starts_at_once_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://elsewhere.example")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    started = time.monotonic()
    with Emulator() as first:
        assert time.monotonic() - started < 5.0  # 0.3 s on a machine that does nothing else
        port = first.port
        first.access.client("sqs").create_queue(QueueName="tasks")
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_ENDPOINT_URL_S3" not in os.environ
    assert os.environ["AWS_ENDPOINT_URL_S3"] == "https://elsewhere.example"
    assert os.environ["AWS_PROFILE"] == "work"
    assert "AWS_ENDPOINT_URL" not in os.environ
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0
    with Emulator(port=port) as second:
        assert not second.access.client("sqs").list_queues().get("QueueUrls")


def test_it_listens_on_this_machine_only(emulator: Emulator) -> None:
    own = {os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                addresses.add(fields[1])
    assert addresses == {f"0100007F:{emulator.port:04X}"}


def test_a_taken_port_is_refused_with_advice() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(LocalError, match="choose another port with --port"):
            Emulator(port=other.getsockname()[1]).start()
    with Emulator():
        pass


def test_one_at_a_time(emulator: Emulator) -> None:
    with pytest.raises(LocalError, match="already running"):
        Emulator().start()
    assert emulator.access.client("sqs").list_queues()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "1.6.0")
    with pytest.raises(LocalError, match=r"ministack 1\.6\.0 is installed.*ministack==1\.5\.33"):
        Emulator().start()


def test_a_template_is_deployed_and_works(emulator: Emulator, tmp_path: Path) -> None:
    """Its Lambda function among the rest, which runs in a process of its own."""
    deployment = deploy(
        write_assembly(tmp_path, [("Api", api_template("assets"), ())]), emulator.access
    )
    (api,) = deployment.physical_ids("rest-api")
    url = f"{emulator.access.endpoint_url}/_aws/execute-api/{api}/prod/"

    for bad in (b"[]", b"{}", b"nothing"):
        status, content_type, body = post(url, bad)
        assert (status, content_type) == (400, "application/problem+json")
        assert json.loads(body)["title"] == "Bad request"
    assert post(url, b'{"prompt":"a circle"}')[0] == 202

    (queue,) = deployment.physical_ids("task-queue")
    received = emulator.access.client("sqs").receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
    )
    assert [each["Body"] for each in received["Messages"]] == ['{"prompt":"a circle"}']

    (bucket,) = deployment.physical_ids("output-bucket")
    s3 = emulator.access.client("s3")
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["Expiration"] == {"Days": 3}


def test_stacks_are_deployed_in_order_and_see_each_others_exports(
    emulator: Emulator, tmp_path: Path
) -> None:
    producer = {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Network": {"Type": "AWS::EC2::VPC"},
        },
        "Outputs": {
            "Kept": {"Value": {"Ref": "Queue"}, "Export": {"Name": "P:Queue"}},
            "Gone": {"Value": {"Ref": "Network"}, "Export": {"Name": "P:Network"}},
        },
    }
    manifest = {
        "Fn::Join": [
            "",
            [
                '[{"kind":"X","queue":"',
                {"Fn::ImportValue": "P:Queue"},
                '","network":"',
                {"Fn::ImportValue": "P:Network"},
                '"}]',
            ],
        ]
    }
    consumer = {
        "Resources": {
            "Manifest": {
                "Type": "Custom::AWSCDK-EKS-KubernetesResource",
                "Properties": {"Manifest": manifest},
            },
            "Parameter": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Type": "String", "Value": {"Fn::ImportValue": "P:Network"}},
            },
        }
    }
    said: list[str] = []
    assembly = write_assembly(tmp_path, [("A", consumer, ["B"]), ("B", producer, [])])
    deployment = deploy(assembly, emulator.access, say=said.append)
    ((manifest_object,),) = deployment.manifests
    assert manifest_object["queue"].startswith(emulator.access.endpoint_url)
    assert manifest_object["network"] == "left-out:Network"
    assert len(said) == 1
    assert "AWS::EC2::{VPC}" in said[0]


def test_the_resource_that_fails_is_named(emulator: Emulator, tmp_path: Path) -> None:
    template = {
        "Resources": {
            "Good": {"Type": "AWS::SQS::Queue"},
            "Bad": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": "python3.13",
                    "Handler": "code.handler",
                    "Role": "arn:aws:iam::000000000000:role/none",
                    "Code": {"ZipFile": ""},
                    "Layers": ["no ARN"],
                },
            },
        }
    }
    with pytest.raises(LocalError, match=r"stack Stack failed .*Bad \(AWS::Lambda::Function\)"):
        deploy(write_assembly(tmp_path, [("Stack", template, ())]), emulator.access)


def test_a_type_that_the_emulator_lacks_is_named(emulator: Emulator, tmp_path: Path) -> None:
    template = {"Resources": {"Fleet": {"Type": "AWS::GameLift::Fleet"}}}
    with pytest.raises(LocalError, match=r"stack Stack was refused: .*AWS::GameLift::Fleet"):
        deploy(write_assembly(tmp_path, [("Stack", template, ())]), emulator.access)


def test_keys_without_signatures_are_no_reason_for_a_warning() -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from cdk_stable_diffusion.local.emulator import Emulator\n"
        "with Emulator() as emulator: emulator.access.client('kms').list_keys()\n"
        "assert not sys.modules['ministack.services.kms'].HAS_CRYPTO"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
