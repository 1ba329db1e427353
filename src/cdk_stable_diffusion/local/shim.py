"""What ministack leaves out and the quickstart's template needs, mended in its modules.

Each patch stands beside its reason. They reach into private names, so they hold for exactly one
version; another one is refused instead of being patched blindly.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any
from xml.sax.saxutils import escape

from .errors import LocalError

VERSION = "1.5.33"

_Created = tuple[str, dict[str, Any]]
_patched = False


def check_version() -> None:
    """Refuse any ministack but the one that the patches were made for.

    Raises:
        LocalError: If it is missing or of another version.
    """
    try:
        found = metadata.version("ministack")
    except metadata.PackageNotFoundError:
        raise LocalError(
            "ministack is not installed: pip install 'cdk-stable-diffusion[local]'"
        ) from None
    if found != VERSION:
        raise LocalError(
            f"ministack {found} is installed, but its repairs here are for {VERSION} only: "
            f"pip install ministack=={VERSION}"
        )


def apply_patches() -> None:
    """Mend the emulator. Doing it twice changes nothing."""
    global _patched  # noqa: PLW0603 (modules are patched once in a process)
    if _patched:
        return
    _patched = True
    handlers = _module("services.cloudformation.provisioners")._RESOURCE_HANDLERS
    _create_request_validators(handlers)
    _keep_bucket_lifecycle(handlers)


def use_port(port: int) -> None:
    """Give the modules that read the port when they were imported the present one.

    Args:
        port: The emulator's port.
    """
    for name, values in (
        ("services.sqs", {"DEFAULT_PORT": port, "_CANONICAL_NETLOC": f"127.0.0.1:{port}"}),
        ("services.sns", {"_PORT": port}),
        ("services.cloudformation.custom_resource", {"_PORT": port}),
    ):
        if (module := sys.modules.get(f"ministack.{name}")) is not None:
            for attribute, value in values.items():
                setattr(module, attribute, str(value))


def _create_request_validators(handlers: dict[str, dict[str, Callable[..., Any]]]) -> None:
    """Enforce request models: CloudFormation makes no validator and forgets a method's validator.

    Without this a body that API Gateway refuses would reach the Lambda function.
    """
    api = _module("services.apigateway_v1")
    method = handlers["AWS::ApiGateway::Method"]
    create_method = method["create"]

    def create_validator(logical_id: str, properties: Mapping[str, Any], stack: str) -> _Created:
        _status, _headers, body = api._create_request_validator(
            properties["RestApiId"],
            {
                "name": properties.get("Name", logical_id),
                "validateRequestBody": _true(properties.get("ValidateRequestBody")),
                "validateRequestParameters": _true(properties.get("ValidateRequestParameters")),
            },
        )
        identifier = json.loads(body)["id"]
        return identifier, {"RequestValidatorId": identifier}

    def create_method_with_validator(
        logical_id: str, properties: Mapping[str, Any], stack: str
    ) -> _Created:
        created: _Created = create_method(logical_id, properties, stack)
        if validator := properties.get("RequestValidatorId"):
            api._update_method(
                properties["RestApiId"],
                properties["ResourceId"],
                properties["HttpMethod"],
                {
                    "patchOperations": [
                        {"op": "replace", "path": "/requestValidatorId", "value": validator}
                    ]
                },
            )
        return created

    handlers["AWS::ApiGateway::RequestValidator"]["create"] = create_validator
    method["create"] = create_method_with_validator


def _keep_bucket_lifecycle(handlers: dict[str, dict[str, Callable[..., Any]]]) -> None:
    """Keep a bucket's lifecycle rules, which CloudFormation drops: they can be read back then."""
    s3 = _module("services.s3")
    bucket = handlers["AWS::S3::Bucket"]
    create_bucket = bucket["create"]

    def create_with_lifecycle(
        logical_id: str, properties: Mapping[str, Any], stack: str
    ) -> _Created:
        created: _Created = create_bucket(logical_id, properties, stack)
        if rules := (properties.get("LifecycleConfiguration") or {}).get("Rules"):
            s3._put_bucket_lifecycle(created[0], _lifecycle_xml(rules))
        return created

    bucket["create"] = create_with_lifecycle


def _lifecycle_xml(rules: list[Mapping[str, Any]]) -> bytes:
    """Translate the rules that the constructs write: expiry by prefix, and aborted uploads."""
    parts = []
    for rule in rules:
        actions = ""
        if "ExpirationInDays" in rule:
            actions += f"<Expiration><Days>{rule['ExpirationInDays']}</Days></Expiration>"
        if expiry := rule.get("NoncurrentVersionExpiration"):
            actions += (
                "<NoncurrentVersionExpiration><NoncurrentDays>"
                f"{expiry['NoncurrentDays']}"
                "</NoncurrentDays></NoncurrentVersionExpiration>"
            )
        if abort := rule.get("AbortIncompleteMultipartUpload"):
            actions += (
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>"
                f"{abort['DaysAfterInitiation']}"
                "</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
            )
        parts.append(
            f"<Rule><ID>{escape(str(rule.get('Id', '')))}</ID><Status>{rule['Status']}</Status>"
            f"<Filter><Prefix>{escape(str(rule.get('Prefix', '')))}</Prefix></Filter>"
            f"{actions}</Rule>"
        )
    document = (
        '<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{''.join(parts)}</LifecycleConfiguration>"
    )
    return document.encode("utf-8")


def _true(value: object) -> bool:
    return value is True or str(value).lower() == "true"


def _module(name: str) -> Any:
    return importlib.import_module(f"ministack.{name}")
