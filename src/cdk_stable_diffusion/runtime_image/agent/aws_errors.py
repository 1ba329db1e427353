"""What an error of AWS means: that it is away for now, that it says no, that there is nothing."""

from __future__ import annotations

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

_ABSENT = frozenset({"404", "NoSuchKey"})
_DENIED = frozenset({"403", "AccessDenied"})
# How S3 words a denial that has nothing to do with whether the object is there.
_TRULY_DENIED = ("s3:GetObject", "kms:")
_NO_ANSWER = (
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoConnectionError,
    NoCredentialsError,
)
_PASSING_STATUSES = frozenset({408, 409, 429})
# What services say with a status that elsewhere means no.
_PASSING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "ExpiredToken",
        "ExpiredTokenException",
        "KMS.ThrottlingException",
        "KMSThrottling",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "Throttled",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_FIRST_REFUSAL, _FIRST_SERVER_FAULT = 400, 500


def error_code(error: ClientError) -> str:
    """Return the code of an AWS error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: ClientError) -> bool:
    """Tell whether S3 says of an object that it is not there.

    To whoever may not list the bucket, which no agent may, S3 says "access denied" of an object
    that is not there. What it denies for another reason it names.
    """
    code = error_code(error)
    if code in _DENIED:
        message = str(error.response.get("Error", {}).get("Message", ""))
        return not any(action in message for action in _TRULY_DENIED)
    return code in _ABSENT


def is_away(error: BaseException) -> bool:
    """Tell whether AWS gave no answer, or asked to come again: it will pass by itself."""
    if isinstance(error, ClientError):
        passing = error_code(error) in _PASSING_CODES or _status(error) in _PASSING_STATUSES
        return passing or _status(error) >= _FIRST_SERVER_FAULT
    return isinstance(error, _NO_ANSWER)


def is_refusal(error: BaseException) -> bool:
    """Tell whether AWS says no: it will say so again until somebody changes something."""
    return (
        isinstance(error, ClientError) and not is_away(error) and _status(error) >= _FIRST_REFUSAL
    )


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
