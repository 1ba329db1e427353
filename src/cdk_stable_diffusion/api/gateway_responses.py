"""What API Gateway says when it refuses a request itself: the same problem documents."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aws_cdk import aws_apigateway as apigateway

from ..contract.fault import Fault
from ..contract.limits import MAX_REQUEST_BYTES
from ..contract.problem import PROBLEM_CONTENT_TYPE, problem

_SLOW_DOWN = {"Retry-After": "'1'"}
_LATER = {"Retry-After": "'5'"}

_Types = apigateway.ResponseType


def add_gateway_responses(rest_api: apigateway.RestApi) -> None:
    """Replace every answer of API Gateway's own.

    Args:
        rest_api: The API.
    """
    _add(rest_api, _Types.BAD_REQUEST_BODY, 400, _BODY, [Fault("", _MUST)])
    _add(rest_api, _Types.BAD_REQUEST_PARAMETERS, 400, "The request lacks a parameter.")
    _add(rest_api, _Types.UNAUTHORIZED, 401, "The request is not signed, or not as it should be.")
    _add(rest_api, _Types.INVALID_API_KEY, 403, "The header x-api-key is missing or wrong.")
    _add(rest_api, _Types.ACCESS_DENIED, 403, "A policy does not allow this request.")
    _add(rest_api, _Types.INVALID_SIGNATURE, 403, "The request's signature is wrong.")
    _add(rest_api, _Types.EXPIRED_TOKEN, 403, "The credentials have expired.")
    _add(rest_api, _Types.WAF_FILTERED, 403, "The firewall does not allow this request.")
    # This is how API Gateway calls a path or method that the API does not have.
    _add(rest_api, _Types.MISSING_AUTHENTICATION_TOKEN, 404, "There is no such path or method.")
    _add(rest_api, _Types.RESOURCE_NOT_FOUND, 404, "There is no such path or method.")
    _add(
        rest_api,
        _Types.REQUEST_TOO_LARGE,
        413,
        f"The body must have at most {MAX_REQUEST_BYTES} bytes.",
    )
    _add(rest_api, _Types.UNSUPPORTED_MEDIA_TYPE, 415, "The body must be application/json.")
    _add(
        rest_api,
        _Types.THROTTLED,
        429,
        "The API key sends requests faster than it may.",
        headers=_SLOW_DOWN,
    )
    _add(rest_api, _Types.QUOTA_EXCEEDED, 429, "The API key has used up its quota.")
    _add(rest_api, _Types.API_CONFIGURATION_ERROR, 500, "The API is not set up as it should be.")
    _add(rest_api, _Types.AUTHORIZER_CONFIGURATION_ERROR, 500, "The authorizer is set up wrongly.")
    _add(rest_api, _Types.AUTHORIZER_FAILURE, 500, "The authorizer failed.")
    _add(rest_api, _Types.INTEGRATION_FAILURE, 503, _UNSURE, headers=_LATER)
    _add(rest_api, _Types.INTEGRATION_TIMEOUT, 504, _UNSURE)
    _add(rest_api, _Types.DEFAULT_4_XX, 400, "API Gateway refused the request.")
    _add(rest_api, _Types.DEFAULT_5_XX, 500, "API Gateway could not handle the request.")


# The request model asks for an object and leaves the rest to the function, so this is the only
# fault there can be; API Gateway's own words for it hold quotes that could break the document.
_BODY = "The body is not valid JSON, or not an object."
_MUST = "must be valid JSON and, as a whole, an object"

_UNSURE = (
    "The function did not answer. Send the request again; with an idempotency_key it will be the "
    "same task, even if it was accepted the first time."
)


def _add(
    rest_api: apigateway.RestApi,
    kind: apigateway.ResponseType,
    status: int,
    detail: str,
    errors: Sequence[Fault] = (),
    *,
    headers: dict[str, str] | None = None,
) -> None:
    rest_api.add_gateway_response(
        "".join(part.capitalize() for part in kind.response_type.split("_")),
        type=kind,
        status_code=str(status),
        # API Gateway knows this template by its default type; the header says what it truly is.
        templates={"application/json": json.dumps(problem(status, detail, errors))},
        response_headers={"Content-Type": f"'{PROBLEM_CONTENT_TYPE}'", **(headers or {})},
    )
