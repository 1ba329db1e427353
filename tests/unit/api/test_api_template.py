"""What an SdApi makes, by default and with each of its arguments."""

from __future__ import annotations

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Annotations, Match, Template
from jsonschema import Draft4Validator

from cdk_stable_diffusion.api import Quota, SdApi, Throttle
from cdk_stable_diffusion.api.rest import request_model_schema
from cdk_stable_diffusion.api.sd_api import NO_RUNTIME_WARNING
from cdk_stable_diffusion.contract import limits, schemas
from cdk_stable_diffusion.contract import template as marks

RESPONSE_TYPES = {
    "ACCESS_DENIED": 403,
    "API_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "DEFAULT_4XX": 400,
    "DEFAULT_5XX": 500,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 503,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_API_KEY": 403,
    "INVALID_SIGNATURE": 403,
    "MISSING_AUTHENTICATION_TOKEN": 404,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "RESOURCE_NOT_FOUND": 404,
    "THROTTLED": 429,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "WAF_FILTERED": 403,
}


def make(**arguments: Any) -> tuple[SdApi, Template]:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api", **arguments)
    api.routes.add_static("tiny", ["tiny-shapes"])
    return api, Template.from_stack(stack)


@pytest.fixture(scope="module")
def template() -> Template:
    """The template of an API with its defaults, one runtime and one result queue."""
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api")
    api.routes.add_static("tiny", ["tiny-shapes"])
    api.add_result_queue("Results")
    return Template.from_stack(stack)


def only(template: Template, kind: str, **properties: Any) -> dict[str, Any]:
    """The one resource of a type, or of those with some properties."""
    (found,) = template.find_resources(kind, {"Properties": properties}).values()
    return dict(found)


def marked(template: Template, kind: str) -> dict[str, Any]:
    """The one resource with a mark."""
    (found,) = (
        resource
        for resource in template.to_json()["Resources"].values()
        if resource.get("Metadata", {}).get(marks.METADATA_KEY) == kind
    )
    return dict(found)


def statements(template: Template, prefix: str) -> list[dict[str, Any]]:
    """What the roles whose ids begin so may do."""
    return [
        statement
        for name, policy in template.find_resources("AWS::IAM::Policy").items()
        if name.startswith(prefix)
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


@pytest.mark.parametrize(
    ("kind", "type_name"),
    [
        (marks.REST_API, "AWS::ApiGateway::RestApi"),
        (marks.STAGE, "AWS::ApiGateway::Stage"),
        (marks.API_KEY, "AWS::ApiGateway::ApiKey"),
        (marks.HANDLER, "AWS::Lambda::Function"),
        (marks.REQUEST_TOPIC, "AWS::SNS::Topic"),
        (marks.RESULT_TOPIC, "AWS::SNS::Topic"),
        (marks.OUTPUT_BUCKET, "AWS::S3::Bucket"),
        (marks.MODEL_BUCKET, "AWS::S3::Bucket"),
        (marks.RESULT_QUEUE, "AWS::SQS::Queue"),
    ],
)
def test_resources_are_marked(template: Template, kind: str, type_name: str) -> None:
    assert marked(template, kind)["Type"] == type_name


def test_nothing_has_a_name_that_another_stack_could_want(template: Template) -> None:
    for resource in template.to_json()["Resources"].values():
        names = {
            key for key in resource.get("Properties", {}) if key.endswith("Name") or key == "Name"
        }
        allowed = {
            "AWS::ApiGateway::RestApi": {"Name"},
            "AWS::ApiGateway::Method": {"OperationName"},
            "AWS::ApiGateway::Stage": {"StageName"},
            "AWS::IAM::Policy": {"PolicyName"},
            "AWS::Lambda::Permission": {"FunctionName"},
        }
        assert names <= allowed.get(resource["Type"], set()), resource


def test_two_apis_have_two_names_for_their_metrics() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    SdApi(stack, "One")
    SdApi(stack, "Two")
    apis = Template.from_stack(stack).find_resources("AWS::ApiGateway::RestApi")
    assert len({api["Properties"]["Name"] for api in apis.values()}) == 2


def test_there_are_no_outputs(template: Template) -> None:
    assert "Outputs" not in template.to_json()


# The way in


def test_the_api_is_regional(template: Template) -> None:
    template.has_resource_properties(
        "AWS::ApiGateway::RestApi", {"EndpointConfiguration": {"Types": ["REGIONAL"]}}
    )


def test_every_method_demands_a_key(template: Template) -> None:
    methods = template.find_resources("AWS::ApiGateway::Method").values()
    assert {method["Properties"]["HttpMethod"] for method in methods} == {
        "POST",
        "GET",
        "DELETE",
        "ANY",
    }
    for method in methods:
        assert method["Properties"]["ApiKeyRequired"] is True
        assert method["Properties"]["Integration"]["Type"] == "AWS_PROXY"


def test_requests_are_validated_against_the_model(template: Template) -> None:
    (validator,) = template.find_resources("AWS::ApiGateway::RequestValidator")
    (model,) = template.find_resources("AWS::ApiGateway::Model")
    template.has_resource_properties(
        "AWS::ApiGateway::Method",
        {
            "HttpMethod": "POST",
            "RequestValidatorId": {"Ref": validator},
            "RequestModels": {"application/json": {"Ref": model}},
        },
    )
    template.has_resource_properties(
        "AWS::ApiGateway::RequestValidator",
        {"ValidateRequestBody": True, "ValidateRequestParameters": True},
    )


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_task_is_asked_for_and_cancelled_by_its_id(template: Template, method: str) -> None:
    (validator,) = template.find_resources("AWS::ApiGateway::RequestValidator")
    (tasks,) = template.find_resources(
        "AWS::ApiGateway::Resource", {"Properties": {"PathPart": "tasks"}}
    )
    (task,) = template.find_resources(
        "AWS::ApiGateway::Resource",
        {"Properties": {"PathPart": "{task_id}", "ParentId": {"Ref": tasks}}},
    )
    properties = only(template, "AWS::ApiGateway::Method", HttpMethod=method)["Properties"]
    assert properties["ResourceId"] == {"Ref": task}
    assert properties["RequestValidatorId"] == {"Ref": validator}
    assert properties["RequestParameters"] == {
        "method.request.path.task_id": True,
        "method.request.querystring.output_prefix": False,
    }
    # Who asks for anything else there is told so by the function.
    assert only(template, "AWS::ApiGateway::Method", HttpMethod="ANY", ResourceId={"Ref": task})


def test_the_model_describes_the_contract(template: Template) -> None:
    model = only(template, "AWS::ApiGateway::Model")["Properties"]["Schema"]
    assert model == request_model_schema()
    assert model["$schema"] == schemas.DRAFT
    described = model["anyOf"][0]
    contract = schemas.schema("task-request")
    assert described["required"] == contract["required"]
    assert described["properties"].keys() == contract["properties"].keys()
    assert described["properties"]["width"] == contract["properties"]["width"]
    Draft4Validator.check_schema(model)


@pytest.mark.parametrize(
    ("body", "passes"),
    [({}, True), ({"steps": 0}, True), ([], False), ("x", False), (None, False), (7, False)],
)
def test_the_model_leaves_faults_of_objects_to_the_function(body: Any, passes: bool) -> None:
    assert Draft4Validator(request_model_schema()).is_valid(body) == passes


def test_a_template_holds_no_null(template: Template) -> None:
    def nulls(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(nulls, value.values()))
        if isinstance(value, list):
            return any(map(nulls, value))
        return value is None

    assert not nulls(template.to_json())


def test_a_changed_model_is_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    def deployment() -> str:
        (name,) = make()[1].find_resources("AWS::ApiGateway::Deployment")
        return name

    before = deployment()
    assert deployment() == before
    monkeypatch.setattr(
        "cdk_stable_diffusion.api.rest.request_model_schema", lambda: {"type": "object"}
    )
    assert deployment() != before


@pytest.mark.parametrize("kind", sorted(RESPONSE_TYPES))
def test_gateway_responses_are_problems(template: Template, kind: str) -> None:
    response = only(template, "AWS::ApiGateway::GatewayResponse", ResponseType=kind)["Properties"]
    document = json.loads(response["ResponseTemplates"]["application/json"])
    Draft4Validator(schemas.schema("problem")).validate(document)
    assert document["status"] == int(response["StatusCode"]) == RESPONSE_TYPES[kind]
    parameters = response["ResponseParameters"]
    assert parameters["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
    if kind == "THROTTLED":
        assert parameters["gatewayresponse.header.Retry-After"] == "'1'"


def test_no_gateway_response_is_left_out(template: Template) -> None:
    template.resource_count_is("AWS::ApiGateway::GatewayResponse", len(RESPONSE_TYPES))


def test_the_refusal_of_a_body_names_its_fault(template: Template) -> None:
    response = only(template, "AWS::ApiGateway::GatewayResponse", ResponseType="BAD_REQUEST_BODY")
    document = json.loads(response["Properties"]["ResponseTemplates"]["application/json"])
    (error,) = document["errors"]
    assert error["pointer"] == ""
    assert "valid JSON" in error["detail"]


def test_default_throttle(template: Template) -> None:
    plan = only(template, "AWS::ApiGateway::UsagePlan")["Properties"]
    assert plan["Throttle"] == {"BurstLimit": 100, "RateLimit": 50}
    assert "Quota" not in plan
    (key,) = template.find_resources("AWS::ApiGateway::ApiKey")
    template.has_resource_properties("AWS::ApiGateway::UsagePlanKey", {"KeyId": {"Ref": key}})


def test_throttle_and_quota() -> None:
    _api, template = make(
        throttle=Throttle(rate_per_second=2.5, burst=7), quota=Quota(requests=1000, period="week")
    )
    plan = only(template, "AWS::ApiGateway::UsagePlan")["Properties"]
    assert plan["Throttle"] == {"BurstLimit": 7, "RateLimit": 2.5}
    assert plan["Quota"] == {"Limit": 1000, "Period": "WEEK"}


@pytest.mark.parametrize(
    ("make_it", "says"),
    [
        (lambda: Throttle(rate_per_second=0, burst=0), r"rate_per_second is 0.*burst is 0"),
        (lambda: Throttle(rate_per_second=-1), "rate_per_second is -1"),
        (lambda: Throttle(rate_per_second="fast"), "rate_per_second is 'fast': a number"),  # type: ignore[arg-type]
        (lambda: Throttle(burst=1.5), "burst is 1.5: a whole number"),  # type: ignore[arg-type]
        (lambda: Quota(requests="9"), "requests is '9': a whole number"),  # type: ignore[arg-type]
        (lambda: Throttle(burst=5_001), "burst is 5001: 1 to 5000"),
        (lambda: Quota(requests=0), "requests is 0"),
        (lambda: Quota(requests=1, period="year"), "one of day, week, month"),  # type: ignore[arg-type]
    ],
)
def test_wrong_throttles_are_refused(make_it: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make_it()


# Logs and traces


def test_access_logs_name_no_secret(template: Template) -> None:
    stage = marked(template, marks.STAGE)["Properties"]
    written = json.loads(stage["AccessLogSetting"]["Format"])
    values = set(written.values())
    assert "$context.identity.apiKeyId" in values
    assert "$context.identity.apiKey" not in values
    assert not any("authorizer" in value or "sourceIp" in value for value in values)
    assert all(value.startswith("$context.") for value in values)


def test_execution_logs_hold_errors_without_data(template: Template) -> None:
    stage = marked(template, marks.STAGE)["Properties"]
    (setting,) = stage["MethodSettings"]
    assert setting["LoggingLevel"] == "ERROR"
    assert setting["DataTraceEnabled"] is False
    assert stage["TracingEnabled"] is True


def test_logs_are_kept_a_month(template: Template) -> None:
    template.resource_properties_count_is("AWS::Logs::LogGroup", {"RetentionInDays": 30}, 2)


def test_log_retention() -> None:
    _api, template = make(log_retention=logs.RetentionDays.ONE_DAY)
    template.resource_properties_count_is("AWS::Logs::LogGroup", {"RetentionInDays": 1}, 2)


def test_the_account_gets_a_role_for_logs_unless_it_has_one(template: Template) -> None:
    template.resource_count_is("AWS::ApiGateway::Account", 1)
    template.has_resource("AWS::ApiGateway::Account", {"DeletionPolicy": "Retain"})
    _api, without = make(account_log_role=False)
    without.resource_count_is("AWS::ApiGateway::Account", 0)
    without.resource_count_is("AWS::IAM::Role", 1)


# The function


def test_the_function(template: Template) -> None:
    function = marked(template, marks.HANDLER)["Properties"]
    assert function["Architectures"] == ["arm64"]
    assert function["Runtime"] == "python3.14"
    assert function["Handler"] == "cdk_stable_diffusion.handler.app.handler"
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["Timeout"] < 29
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert "Layers" not in function


def test_the_function_knows_the_routes(template: Template) -> None:
    variables = marked(template, marks.HANDLER)["Properties"]["Environment"]["Variables"]
    assert set(variables) == {
        "SD_REQUEST_TOPIC_ARN",
        "SD_OUTPUT_BUCKET",
        "SD_MODEL_BUCKET",
        "SD_ROUTES",
    }
    assert json.loads(variables["SD_ROUTES"]) == {
        "static": {"tiny-shapes": "tiny"},
        "dynamic": None,
    }


def test_the_function_may_do_no_more_than_it_must(template: Template) -> None:
    allowed = {}
    for statement in statements(template, "ApiHandlerRole"):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            allowed[action] = statement
    assert set(allowed) == {
        "sns:Publish",
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
    }
    assert {action for action, each in allowed.items() if each["Resource"] == "*"} == {
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
    }
    assert allowed["s3:ListBucket"]["Condition"] == {"StringLike": {"s3:prefix": "models/*"}}
    names = {
        action: [each["Fn::Join"][1][-1] for each in as_list(allowed[action]["Resource"])]
        for action in ("s3:GetObject", "s3:PutObject")
    }
    assert names == {
        "s3:GetObject": ["/*/result.json", "/*/progress.json", "/*/cancel.json"],
        "s3:PutObject": ["/*/cancel.json"],
    }


def test_only_this_api_may_call_the_function(template: Template) -> None:
    permissions = template.find_resources("AWS::Lambda::Permission").values()
    assert permissions
    for permission in permissions:
        assert permission["Properties"]["Principal"] == "apigateway.amazonaws.com"
        assert "SourceArn" in permission["Properties"]


# Topics and buckets


@pytest.mark.parametrize("kind", [marks.REQUEST_TOPIC, marks.RESULT_TOPIC])
def test_topics_are_encrypted_at_no_cost(template: Template, kind: str) -> None:
    assert marked(template, kind)["Properties"]["KmsMasterKeyId"] == "alias/aws/sns"


@pytest.mark.parametrize(
    ("type_name", "count"),
    [("AWS::SNS::TopicPolicy", 2), ("AWS::S3::BucketPolicy", 2), ("AWS::SQS::QueuePolicy", 2)],
)
def test_everything_is_for_tls_only(template: Template, type_name: str, count: int) -> None:
    template.resource_properties_count_is(
        type_name,
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like(
                            {
                                "Effect": "Deny",
                                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                            }
                        )
                    ]
                )
            }
        },
        count,
    )


@pytest.mark.parametrize("kind", [marks.OUTPUT_BUCKET, marks.MODEL_BUCKET])
def test_buckets_are_encrypted_private_and_kept(template: Template, kind: str) -> None:
    bucket = marked(template, kind)
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    properties = bucket["Properties"]
    (encryption,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["OwnershipControls"]["Rules"][0]["ObjectOwnership"] == "BucketOwnerEnforced"
    assert any(
        rule.get("AbortIncompleteMultipartUpload") == {"DaysAfterInitiation": 7}
        for rule in properties["LifecycleConfiguration"]["Rules"]
    )


def test_pictures_stay_and_have_no_versions(template: Template) -> None:
    properties = marked(template, marks.OUTPUT_BUCKET)["Properties"]
    assert "VersioningConfiguration" not in properties
    assert [
        (rule.get("Prefix"), rule.get("ExpirationInDays"))
        for rule in properties["LifecycleConfiguration"]["Rules"]
    ] == [(None, None), (".returned/", 15)]


def test_models_have_versions_for_a_month(template: Template) -> None:
    properties = marked(template, marks.MODEL_BUCKET)["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert '"NoncurrentDays": 30' in json.dumps(properties)
    assert "ExpirationInDays" not in json.dumps(properties)


def test_pictures_can_expire() -> None:
    _api, template = make(output_lifecycle=cdk.Duration.hours(48))
    rules = marked(template, marks.OUTPUT_BUCKET)["Properties"]["LifecycleConfiguration"]["Rules"]
    assert [rule.get("ExpirationInDays") for rule in rules] == [None, 15, 2]
    models = marked(template, marks.MODEL_BUCKET)["Properties"]
    assert "ExpirationInDays" not in json.dumps(models)


def test_removal_policy() -> None:
    _api, template = make(removal_policy=cdk.RemovalPolicy.DESTROY)
    for kind in (marks.OUTPUT_BUCKET, marks.MODEL_BUCKET):
        assert marked(template, kind)["DeletionPolicy"] == "Delete"


def test_buckets_of_ones_own() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    pictures = s3.Bucket(stack, "Pictures")
    models = s3.Bucket.from_bucket_name(stack, "Models", "my-models")
    api = SdApi(stack, "Api", output_bucket=pictures, model_bucket=models)
    assert api.output_bucket is pictures
    assert api.model_bucket is models
    template = Template.from_stack(stack)
    template.resource_count_is("AWS::S3::Bucket", 1)
    variables = marked(template, marks.HANDLER)["Properties"]["Environment"]["Variables"]
    assert variables["SD_MODEL_BUCKET"] == "my-models"


def test_a_key_of_ones_own_is_used_and_granted() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    key = kms.Key(stack, "Key")
    SdApi(stack, "Api", encryption_key=key)
    template = Template.from_stack(stack)
    (key_id,) = template.find_resources("AWS::KMS::Key")
    key_arn = {"Fn::GetAtt": [key_id, "Arn"]}
    template.all_resources_properties("AWS::SNS::Topic", {"KmsMasterKeyId": key_arn})
    for kind in (marks.OUTPUT_BUCKET, marks.MODEL_BUCKET):
        (rule,) = marked(template, kind)["Properties"]["BucketEncryption"][
            "ServerSideEncryptionConfiguration"
        ]
        assert rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key_arn
        assert rule["BucketKeyEnabled"] is True
    # To publish on a topic with a key, the function must be able to use the key.
    (grant,) = [
        statement
        for statement in statements(template, "ApiHandlerRole")
        if "kms:Decrypt" in statement["Action"]
    ]
    assert grant["Resource"] == key_arn
    assert grant["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]


def test_the_function_may_use_the_key_of_a_bucket_of_ones_own() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    key = kms.Key(stack, "Key")
    pictures = s3.Bucket(stack, "Pictures", encryption_key=key)
    SdApi(stack, "Api", output_bucket=pictures)
    found = statements(Template.from_stack(stack), "ApiHandlerRole")
    (grant,) = [each for each in found if "kms:Decrypt" in each["Action"]]
    assert grant["Resource"] == stack.resolve(key.key_arn)


LOG_KEY_ACTIONS = {
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:DescribeKey",
}


def test_logs_have_no_key_of_ones_own_by_default(template: Template) -> None:
    template.resource_properties_count_is("AWS::Logs::LogGroup", {"KmsKeyId": Match.absent()}, 2)


def test_a_key_of_ones_own_for_logs_lets_the_logs_of_the_account_use_it() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    SdApi(stack, "Api", log_encryption_key=kms.Key(stack, "Key"))
    template = Template.from_stack(stack)
    (key_id,) = template.find_resources("AWS::KMS::Key")
    template.resource_properties_count_is(
        "AWS::Logs::LogGroup", {"KmsKeyId": {"Fn::GetAtt": [key_id, "Arn"]}}, 2
    )
    key = only(template, "AWS::KMS::Key")["Properties"]
    (grant,) = [each for each in key["KeyPolicy"]["Statement"] if each.get("Sid") == "EncryptLogs"]
    assert set(grant["Action"]) == LOG_KEY_ACTIONS
    assert grant["Principal"] == {
        "Service": {"Fn::Join": ["", ["logs.", {"Ref": "AWS::Region"}, ".amazonaws.com"]]}
    }
    context = grant["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    assert "".join(str(part) for part in context["Fn::Join"][1]) == (
        "arn:{'Ref': 'AWS::Partition'}:logs:{'Ref': 'AWS::Region'}:{'Ref': 'AWS::AccountId'}"
        ":log-group:*"
    )


def test_an_imported_key_for_logs_is_left_as_it_is() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    key_arn = "arn:aws:kms:eu-west-1:111122223333:key/1"
    SdApi(stack, "Api", log_encryption_key=kms.Key.from_key_arn(stack, "Key", key_arn))
    template = Template.from_stack(stack)
    template.resource_properties_count_is("AWS::Logs::LogGroup", {"KmsKeyId": key_arn}, 2)
    template.resource_count_is("AWS::KMS::Key", 0)


# Arguments and grants


def test_all_wrong_arguments_are_named_at_once() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    bucket = s3.Bucket(stack, "Bucket")
    with pytest.raises(ValueError, match=r"SdApi Stack/Api: .*stage_name is 'a b'") as caught:
        SdApi(
            stack,
            "Api",
            stage_name="a b",
            output_bucket=bucket,
            output_lifecycle=cdk.Duration.hours(30),
        )
    assert "output_lifecycle is given with output_bucket" in str(caught.value)
    assert "whole days" in str(caught.value)
    assert stack.node.try_find_child("Api") is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("output_bucket", "pictures", "'pictures': a bucket"),
        ("model_bucket", "models", "'models': a bucket"),
        ("output_lifecycle", 30, "30: a Duration"),
        ("encryption_key", "arn:x", "'arn:x': a key, such as a kms.Key"),
        ("log_encryption_key", "arn:x", "'arn:x': a key, such as a kms.Key"),
        ("throttle", 5, "5: a Throttle"),
        ("quota", 5, "5: a Quota"),
        ("stage_name", 1, "1: 1 to 128 letters"),
        ("log_retention", 7, "7: a RetentionDays"),
        ("account_log_role", "no", "'no': True or False"),
        ("removal_policy", "destroy", "'destroy': a RemovalPolicy"),
    ],
)
def test_wrong_types_are_refused(name: str, value: object, says: str) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(ValueError) as caught:
        SdApi(cdk.Stack(cdk.App(), "Stack"), "Api", **wrong)
    assert f"SdApi Stack/Api: {name} is {says}" in str(caught.value)


def test_imported_keys_and_buckets_are_taken() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    bucket = s3.Bucket.from_bucket_name(stack, "Bucket", "pictures")
    key_arn = "arn:aws:kms:eu-west-1:111122223333:key/1"
    api = SdApi(
        stack,
        "Api",
        output_bucket=bucket,
        encryption_key=kms.Key.from_key_arn(stack, "Key", key_arn),
    )
    assert api.output_bucket is bucket


def test_tokens_may_throttle() -> None:
    number = cdk.Token.as_number({"Ref": "Number"})
    throttle = Throttle(rate_per_second=number, burst=number)  # type: ignore[arg-type]
    _api, template = make(throttle=throttle)
    plan = only(template, "AWS::ApiGateway::UsagePlan")["Properties"]
    assert plan["Throttle"] == {"BurstLimit": {"Ref": "Number"}, "RateLimit": {"Ref": "Number"}}


def test_tokens_are_not_checked() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    days = cdk.CfnParameter(stack, "Days", type="Number")
    SdApi(stack, "Api", output_lifecycle=cdk.Duration.days(days.value_as_number))
    rules = marked(Template.from_stack(stack), marks.OUTPUT_BUCKET)["Properties"]
    assert {"Ref": "Days"} in [
        rule.get("ExpirationInDays") for rule in rules["LifecycleConfiguration"]["Rules"]
    ]


def test_a_stage_name_must_be_known() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    name = cdk.CfnParameter(stack, "Name")
    with pytest.raises(ValueError, match="known at synthesis"):
        SdApi(stack, "Api", stage_name=name.value_as_string)


@pytest.fixture
def backend() -> tuple[SdApi, cdk.aws_iam.Role, cdk.Stack]:
    """An API with a key of its own, and a role in need of rights."""
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api", encryption_key=kms.Key(stack, "Key"))
    principal = cdk.aws_iam.ServicePrincipal("ec2.amazonaws.com")
    return api, cdk.aws_iam.Role(stack, "Backend", assumed_by=principal), stack


def granted(stack: cdk.Stack) -> dict[str, dict[str, Any]]:
    """Every action that the backend was given, with its statement."""
    return {
        action: statement
        for statement in statements(Template.from_stack(stack), "Backend")
        for action in as_list(statement["Action"])
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_backend_can_be_allowed_to_read_pictures(
    backend: tuple[SdApi, cdk.aws_iam.Role, cdk.Stack],
) -> None:
    api, role, stack = backend
    api.grants.read_outputs(role).assert_success()
    found = granted(stack)
    assert set(found) == {"s3:GetObject", "s3:ListBucket", "kms:Decrypt"}
    bucket = stack.resolve(api.output_bucket.bucket_arn)
    assert found["s3:GetObject"]["Resource"] == {"Fn::Join": ["", [bucket, "/*"]]}
    assert found["s3:ListBucket"]["Resource"] == bucket


def test_a_pipeline_can_be_allowed_to_publish_models_only_where_models_are(
    backend: tuple[SdApi, cdk.aws_iam.Role, cdk.Stack],
) -> None:
    api, role, stack = backend
    api.grants.write_models(role).assert_success()
    found = granted(stack)
    bucket = stack.resolve(api.model_bucket.bucket_arn)
    assert set(found) == {
        "s3:PutObject",
        "s3:GetObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
        "s3:ListBucket",
        "kms:GenerateDataKey",
        "kms:Decrypt",
    }
    assert found["s3:PutObject"]["Resource"] == {"Fn::Join": ["", [bucket, "/models/*"]]}
    assert found["s3:ListBucket"]["Resource"] == bucket
    assert found["s3:ListBucket"]["Condition"] == {"StringLike": {"s3:prefix": "models/*"}}


def test_no_key_is_granted_where_there_is_none() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api")
    principal = cdk.aws_iam.ServicePrincipal("ec2.amazonaws.com")
    role = cdk.aws_iam.Role(stack, "Backend", assumed_by=principal)
    api.grants.read_outputs(role)
    api.grants.write_models(role)
    assert not any(action.startswith("kms:") for action in granted(stack))


def test_another_account_can_be_allowed_to_read_pictures() -> None:
    stack = cdk.Stack(cdk.App(), "Stack", env=cdk.Environment(account="111111111111"))
    api = SdApi(stack, "Api")
    api.grants.read_outputs(cdk.aws_iam.AccountPrincipal("222222222222")).assert_success()
    policies = Template.from_stack(stack).find_resources("AWS::S3::BucketPolicy")
    actions = [
        statement["Action"]
        for policy in policies.values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert actions == ["s3:GetObject", "s3:ListBucket"]


def test_the_endpoint_has_no_slash_at_its_end() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api", stage_name="beta")
    cdk.CfnOutput(stack, "Endpoint", value=api.endpoint)
    value = Template.from_stack(stack).to_json()["Outputs"]["Endpoint"]["Value"]
    parts = value["Fn::Join"][1]
    assert parts[0] == "https://"
    assert parts[-1] != "/"


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("metric_count", "Count"),
        ("metric_client_error", "4XXError"),
        ("metric_server_error", "5XXError"),
        ("metric_latency", "Latency"),
        ("metric_tasks_accepted", "TasksAccepted"),
        ("metric_tasks_refused", "TasksRefused"),
        ("metric_publish_failures", "PublishFailures"),
    ],
)
def test_metrics(method: str, name: str) -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api")
    metric = getattr(api, method)(period=cdk.Duration.minutes(1))
    assert metric.metric_name == name
    assert metric.dimensions
    assert metric.period.to_seconds() == 60


def test_refusals_can_be_told_apart_by_status() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    metric = SdApi(stack, "Api").metric_tasks_refused(status=404)
    assert metric.dimensions is not None
    assert metric.dimensions["Status"] == "404"


def test_an_api_without_a_runtime_is_warned_of() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    SdApi(stack, "Api")
    Annotations.from_stack(stack).has_warning(
        "/Stack/Api", Match.string_like_regexp(f".*{NO_RUNTIME_WARNING}.*")
    )


def test_an_api_with_a_runtime_is_not() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    SdApi(stack, "Api").routes.add_dynamic("any")
    Annotations.from_stack(stack).has_no_warning("*", Match.any_value())


def test_the_413_of_api_gateway_says_our_limit(template: Template) -> None:
    response = only(template, "AWS::ApiGateway::GatewayResponse", ResponseType="REQUEST_TOO_LARGE")
    assert str(limits.MAX_REQUEST_BYTES) in json.dumps(response)
