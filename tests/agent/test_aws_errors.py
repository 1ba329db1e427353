"""What errors of AWS mean."""

from __future__ import annotations

import botocore.exceptions
import pytest
from botocore.exceptions import ClientError

from cdk_stable_diffusion.runtime_image.agent.aws_errors import is_absent, is_away, is_refusal


def error(status: int, code: str, message: str = "") -> ClientError:
    """Make an error as botocore does."""
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
        },
        "GetObject",
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (429, "TooManyRequests"),
        (409, "ConditionalRequestConflict"),
        # These say with the status of a refusal that they will pass.
        (403, "RequestThrottled"),
        (400, "Throttling"),
        (400, "RequestTimeout"),
        (400, "ExpiredToken"),
        (403, "RequestTimeTooSkewed"),
    ],
)
def test_what_will_pass_is_no_refusal(status: int, code: str) -> None:
    assert is_away(error(status, code))
    assert not is_refusal(error(status, code))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (404, "NoSuchBucket"),
        (400, "InvalidParameter"),
        (403, "KMS.Disabled"),
    ],
)
def test_a_refusal_is_one(status: int, code: str) -> None:
    assert is_refusal(error(status, code))
    assert not is_away(error(status, code))


def test_no_answer_will_pass_and_a_fault_of_the_agents_own_is_neither() -> None:
    for kind in ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"):
        assert is_away(getattr(botocore.exceptions, kind)(endpoint_url="https://s3", error="no"))
    assert is_away(botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2))
    for own in (ValueError("no"), botocore.exceptions.ParamValidationError(report="no")):
        assert not is_away(own)
        assert not is_refusal(own)


@pytest.mark.parametrize(
    ("status", "code", "message", "absent"),
    [
        (404, "NoSuchKey", "The specified key does not exist.", True),
        (403, "AccessDenied", "Access Denied", True),
        (403, "AccessDenied", "role is not authorized to perform: s3:ListBucket on it", True),
        (403, "AccessDenied", "role is not authorized to perform: s3:GetObject on it", False),
        (403, "AccessDenied", "role is not authorized to perform: kms:Decrypt on it", False),
        (404, "NoSuchBucket", "", False),
        (503, "SlowDown", "", False),
    ],
)
def test_a_denial_that_names_its_reason_is_no_absence(
    status: int, code: str, message: str, absent: bool
) -> None:
    assert is_absent(error(status, code, message)) is absent
