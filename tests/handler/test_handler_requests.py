"""What a client sends and what it is told."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from cdk_stable_diffusion.contract import schemas
from cdk_stable_diffusion.contract.lanes import lane_of, lanes_of
from cdk_stable_diffusion.contract.limits import MAX_REQUEST_BYTES
from cdk_stable_diffusion.contract.task import TASK_FIELDS
from cdk_stable_diffusion.handler.submit import MessageTooLarge, PublishFailed
from tests.handler.fakes import CALLER, ROUTES, Service, served

DATA_URL = "data:image/png;base64,iVBORw0KGgo="
GOOD = {"model": "tiny-shapes", "prompt": "a large red circle on a blue background"}
PROBLEM = Draft4Validator(schemas.schema("problem"))
ACCEPTED = Draft4Validator(schemas.schema("task-accepted"))


def pointers(document: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in document.get("errors", [])]


def test_a_task_is_accepted_and_published(service: Service) -> None:
    status, document, headers = service.send({**GOOD, "output_prefix": "shop/7/"})

    assert status == 202
    ACCEPTED.validate(document)
    (message,) = service.publisher.messages
    assert document == {
        "task_id": message.task_id,
        "model": "tiny-shapes",
        "runtime": "tiny",
        "runtime_class": "static",
        "output_location": f"s3://pictures/shop/7/{message.task_id}/",
        "submitted_at": message.submitted_at,
        "task_path": f"/v1/tasks/{message.task_id}?output_prefix=shop/7",
    }
    assert headers["Location"] == document["task_path"]
    assert headers["Content-Type"] == "application/json"
    assert message.request.prompt == GOOD["prompt"]
    assert message.attributes() == {
        "model": "tiny-shapes",
        "runtime": "tiny",
        "runtime_class": "static",
        "task_type": "text-to-image",
    }


def test_each_task_type_is_published_with_its_attribute(service: Service) -> None:
    picture = {"image": "s3://pictures/a.png"}
    model = {"model": "tiny-shapes"}
    requests: dict[str, dict[str, Any]] = {
        "image-to-image": {**GOOD, **picture, "strength": 0.5},
        "inpainting": {**GOOD, **picture, "mask": "data:image/png;base64,iVBO"},
        "upscale": {**model, **picture, "scale": 4},
    }
    for task_type, fields in requests.items():
        assert service.send({"task_type": task_type, **fields})[0] == 202
        message = service.publisher.messages[-1]
        assert message.attributes()["task_type"] == task_type
        assert message.request.image == picture["image"]


def test_tasks_of_a_runtime_with_several_lanes_go_to_the_lane_of_their_model(
    service: Service,
) -> None:
    service.catalogue.models = ("dreamy-v2", "m")
    service.routes = replace(ROUTES, lanes=8, spread={"m": 4})
    for number in range(40):
        for model in ("dreamy-v2", "m"):
            assert service.send({**GOOD, "model": model, "seed": number})[0] == 202
    assert service.send(GOOD)[0] == 202
    lanes: dict[str, set[int | None]] = {}
    for message, lane in zip(service.publisher.messages, service.publisher.lanes, strict=True):
        lanes.setdefault(message.request.model, set()).add(lane)
    assert lanes == {
        "dreamy-v2": {lane_of("dreamy-v2", 8)},
        "m": set(lanes_of("m", 8, 4)),
        # Of a static runtime, which has one queue.
        "tiny-shapes": {None},
    }


def test_a_prompt_that_looks_like_a_reference_is_a_prompt(service: Service) -> None:
    prompt = "http://169.254.169.254/latest/meta-data/ s3://pictures/a.png"
    assert service.send({**GOOD, "prompt": prompt})[0] == 202
    (message,) = service.publisher.messages
    assert (message.request.prompt, message.request.image) == (prompt, None)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/vnd.shop+json",
        "application/x-www-form-urlencoded",
    ],
)
def test_content_types_that_mean_json(service: Service, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert service.send(GOOD, headers=headers)[0] == 202


@pytest.mark.parametrize("content_type", ["text/html", "image/png", "multipart/form-data", "x"])
def test_other_content_types_are_refused(service: Service, content_type: str) -> None:
    status, document, headers = service.send(GOOD, headers={"content-type": content_type})
    assert (status, headers["Content-Type"]) == (415, "application/problem+json")
    PROBLEM.validate(document)
    assert headers["Accept-Post"] == "application/json"


def test_a_base64_body_is_decoded(service: Service) -> None:
    body = base64.b64encode(json.dumps(GOOD).encode()).decode()
    assert service.send(body, base64=True)[0] == 202


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


MALFORMED: list[tuple[str, Any, int, list[str]]] = [
    ("no body", None, 400, [""]),
    ("empty body", "", 400, [""]),
    ("blanks", "  \n ", 400, [""]),
    ("not JSON", "{", 400, [""]),
    ("two documents", "{}{}", 400, [""]),
    ("null", "null", 400, [""]),
    ("array", "[]", 400, [""]),
    ("string", '"x"', 400, [""]),
    ("number", "7", 400, [""]),
    ("empty object", {}, 400, ["/model", "/prompt"]),
    ("NaN", '{"model": "a", "prompt": "b", "guidance_scale": NaN}', 400, [""]),
    ("infinity", '{"model": "a", "prompt": "b", "guidance_scale": Infinity}', 400, [""]),
    ("overflow", '{"model": "a", "prompt": "b", "guidance_scale": 1e999}', 400, [""]),
    ("endless integer", '{"model": "a", "prompt": "b", "seed": ' + "9" * 5000 + "}", 400, [""]),
    ("huge integer", '{"model": "a", "prompt": "b", "seed": ' + "9" * 300 + "}", 400, ["/seed"]),
    ("key twice", '{"model": "a", "model": "b", "prompt": "c"}', 400, [""]),
    ("lone surrogate", '{"model": "a", "prompt": "\\ud800"}', 400, [""]),
    ("surrogate in a key", '{"model": "a", "prompt": "b", "\\udfff": 1}', 400, [""]),
    ("deep", deep(20_000), 400, [""]),
    ("deep object", '{"a":' * 9_000 + "1" + "}" * 9_000, 400, [""]),
    ("deep context", {**GOOD, "context": json.loads(deep(40))}, 400, ["/context"]),
    ("large context", {**GOOD, "context": "x" * 9_000}, 400, ["/context"]),
    ("unknown field", {**GOOD, "colour": "red"}, 400, ["/colour"]),
    ("unknown fields", {**GOOD, "a/b": 1, "c~d": 2}, 400, ["/a~1b", "/c~0d"]),
    ("model null", {**GOOD, "model": None}, 400, ["/model"]),
    ("model empty", {**GOOD, "model": ""}, 400, ["/model"]),
    ("model a path", {**GOOD, "model": "../secret"}, 400, ["/model"]),
    ("model with a slash", {**GOOD, "model": "org/name"}, 400, ["/model"]),
    ("model with a line break", {**GOOD, "model": "tiny-shapes\n"}, 400, ["/model"]),
    ("model not ASCII", {**GOOD, "model": "任务１²"}, 400, ["/model"]),
    ("model too long", {**GOOD, "model": "m" * 129}, 400, ["/model"]),
    ("prompt empty", {**GOOD, "prompt": ""}, 400, ["/prompt"]),
    ("prompt a list", {**GOOD, "prompt": ["a"]}, 400, ["/prompt"]),
    ("prompt too long", {**GOOD, "prompt": "x" * 4_001}, 400, ["/prompt"]),
    ("prompt with U+0000", {**GOOD, "prompt": "a\0b"}, 400, ["/prompt"]),
    ("width not a multiple", {**GOOD, "width": 513}, 400, ["/width"]),
    ("width a fraction", {**GOOD, "width": 512.0}, 400, ["/width"]),
    ("width true", {**GOOD, "width": True}, 400, ["/width"]),
    ("width a string", {**GOOD, "width": "512"}, 400, ["/width"]),
    ("steps 0", {**GOOD, "steps": 0}, 400, ["/steps"]),
    ("seed negative", {**GOOD, "seed": -1}, 400, ["/seed"]),
    ("guidance negative", {**GOOD, "guidance_scale": -0.1}, 400, ["/guidance_scale"]),
    (
        "too many pixels",
        {**GOOD, "width": 2048, "height": 2048, "num_images": 8},
        400,
        ["/num_images"],
    ),
    ("task type", {**GOOD, "task_type": "image-to-video"}, 400, ["/task_type"]),
    ("image without a use", {**GOOD, "image": "s3://pictures/a.png"}, 400, ["/image"]),
    ("no image", {**GOOD, "task_type": "image-to-image"}, 400, ["/image"]),
    (
        "inpainting of nothing",
        {"model": "tiny-shapes", "task_type": "inpainting", "scale": 2},
        400,
        ["/prompt", "/image", "/mask", "/scale"],
    ),
    (
        "upscale that draws",
        {**GOOD, "task_type": "upscale", "image": "file:///etc/passwd", "width": 64},
        400,
        ["/image", "/scale", "/width"],
    ),
    ("scheduler", {**GOOD, "scheduler": {"name": "ddim"}}, 400, ["/scheduler"]),
    ("format", {**GOOD, "output_format": "gif"}, 400, ["/output_format"]),
    ("prefix climbs", {**GOOD, "output_prefix": "../../other"}, 400, ["/output_prefix"]),
    ("prefix absolute", {**GOOD, "output_prefix": "/a"}, 400, ["/output_prefix"]),
    ("prefix an object", {**GOOD, "output_prefix": {"a": 1}}, 400, ["/output_prefix"]),
    ("idempotency key", {**GOOD, "idempotency_key": "a b"}, 400, ["/idempotency_key"]),
    (
        "everything",
        {"x": 1, "model": 5, "prompt": None, "steps": 1e9, "seed": [], "output_format": 0},
        400,
        ["/x", "/model", "/prompt", "/steps", "/seed", "/output_format"],
    ),
    ("unknown model", {**GOOD, "model": "nowhere"}, 404, ["/model"]),
    ("too large", {**GOOD, "context": "x" * MAX_REQUEST_BYTES}, 413, [""]),
    ("a megabyte", "x" * 1_100_000, 413, [""]),
]


@pytest.mark.parametrize(
    ("body", "status", "faults"),
    [case[1:] for case in MALFORMED],
    ids=[case[0] for case in MALFORMED],
)
def test_a_malformed_request_is_refused_with_every_fault(
    service: Service, body: Any, status: int, faults: list[str]
) -> None:
    answered, document, headers = service.send(body)

    assert answered == status
    assert headers["Content-Type"] == "application/problem+json"
    PROBLEM.validate(document)
    assert document["status"] == status
    assert pointers(document) == faults
    assert all(error["detail"] for error in document["errors"])
    assert service.publisher.messages == []


@pytest.mark.parametrize(
    "body",
    ["!!!", "e30", base64.b64encode(b"\xff\xfe").decode(), base64.b64encode(b"{").decode(), "é"],
)
def test_a_wrong_base64_body_is_refused(service: Service, body: str) -> None:
    status, document, _headers = service.send(body, base64=True)
    assert status == 400
    assert pointers(document) == [""]


def test_a_large_base64_body_is_refused(service: Service) -> None:
    body = base64.b64encode(b"x" * (MAX_REQUEST_BYTES + 1)).decode()
    assert service.send(body, base64=True)[0] == 413


def test_size_is_counted_in_bytes(service: Service) -> None:
    room = MAX_REQUEST_BYTES - len(json.dumps({**GOOD, "negative_prompt": ""}).encode())
    # Too long a text either way, but only the second is too large a body.
    assert service.send(json.dumps({**GOOD, "negative_prompt": "x" * room}))[0] == 400
    text = json.dumps({**GOOD, "negative_prompt": "é" * room}, ensure_ascii=False)
    assert service.send(text)[0] == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", ""])
def test_another_method_is_told_the_right_one(service: Service, method: str) -> None:
    status, document, headers = service.send(GOOD, method=method)
    assert (status, headers["Allow"]) == (405, "POST")
    PROBLEM.validate(document)


@pytest.mark.parametrize("resource", ["/", "/v1", "/v1/task", "/v2/tasks", "", "/v1/tasks/7"])
def test_another_path_is_not_found(service: Service, resource: str) -> None:
    status, document, _headers = service.send(GOOD, resource=resource)
    assert status == 404
    PROBLEM.validate(document)


@pytest.mark.parametrize("strange", [None, [], {}, {"requestContext": []}, {"headers": 5}, "x"])
def test_an_event_of_another_kind_is_not_found(service: Service, strange: Any) -> None:
    from cdk_stable_diffusion.handler.app import handler

    assert handler(strange, None)["statusCode"] == 404


def test_models_of_the_dynamic_runtime_must_be_in_the_bucket(service: Service) -> None:
    status, document, _headers = service.send({**GOOD, "model": "dreamy-v2"})
    assert (status, document["runtime"], document["runtime_class"]) == (202, "any", "dynamic")

    status, document, _headers = service.send({**GOOD, "model": "dreamy-v3"})
    assert status == 404
    assert "dreamy-v2" in document["errors"][0]["detail"]
    assert len(service.publisher.messages) == 1


def test_near_names_come_from_static_models_and_from_the_bucket(service: Service) -> None:
    _status, document, _headers = service.send({**GOOD, "model": "Tiny-Shape"})
    detail = document["errors"][0]["detail"]
    assert "tiny-shapes" in detail
    assert "tiny-shapes-copy" in detail
    assert "sdxl" not in detail


def test_without_a_dynamic_runtime_the_bucket_does_not_matter(service: Service) -> None:
    from cdk_stable_diffusion.contract import RouteTable

    service.routes = RouteTable(static={"tiny-shapes": "tiny"})
    service.catalogue.down = True
    status, document, _headers = service.send({**GOOD, "model": "tiny-shape"})
    assert status == 404
    assert "near it are tiny-shapes" in document["errors"][0]["detail"]
    assert service.catalogue.asked == []


def test_an_image_on_a_host_that_the_runtime_does_not_ask_is_refused_at_once(
    service: Service,
) -> None:
    from cdk_stable_diffusion.contract import RouteTable

    service.routes = RouteTable(
        static={"tiny-shapes": "tiny", "sdxl": "sdxl", "flux": "flux"},
        hosts={"tiny": ("images.example.org",), "flux": None},
    )
    good = "https://images.example.org/a.png"

    def faults(model: str, image: str, mask: str = good) -> list[str]:
        task = {"task_type": "inpainting", "image": image, "mask": mask, "prompt": "a cat"}
        status, document, _headers = service.send({**task, "model": model})
        assert (status == 202) == ("errors" not in document)
        if status != 202:
            PROBLEM.validate(document)
        return [each["pointer"] for each in document.get("errors", ())]

    for image in (good, "https://IMAGES.example.ORG:443?a", "s3://any/a.png", DATA_URL):
        assert faults("tiny-shapes", image) == []
    for image in (
        "https://example.org/a.png",
        "https://images.example.org.evil.com/",
        "https://evil.com/images.example.org",
        "https://evil.com?images.example.org",
        "https://evil.com#images.example.org",
        "https://user@images.example.org/",
        "https://images.example.org@evil.com/",
        "https://images.example.org:8443/",
        "https://images.example.org\\@evil.com/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://",
    ):
        assert faults("tiny-shapes", image) == ["/image"], image
    assert faults("tiny-shapes", good, mask="https://evil.com/") == ["/mask"]
    # One that names no hosts has none; where they are known only at deployment, the agent decides.
    assert faults("sdxl", good) == ["/image", "/mask"]
    assert faults("flux", "https://evil.com/") == []


def test_a_wrong_port_is_told_the_right_one(service: Service) -> None:
    picture = {"task_type": "image-to-image", "image": "https://images.example.org:8443/a.png"}
    _, document, _ = service.send({**GOOD, **picture})
    (fault,) = document["errors"]
    assert fault["pointer"] == "/image"
    assert "on port 443" in fault["detail"]


def test_a_task_is_accepted_where_the_bucket_cannot_be_asked(service: Service) -> None:
    service.catalogue.down = True
    assert service.send({**GOOD, "model": "dreamy-v3"})[0] == 202
    assert service.publisher.messages[0].request.model == "dreamy-v3"


def test_a_task_that_is_not_on_its_way_is_not_accepted(service: Service) -> None:
    service.publisher.error = PublishFailed("Throttling")
    status, document, headers = service.send(GOOD)
    assert status == 503
    assert int(headers["Retry-After"]) > 0
    PROBLEM.validate(document)


def test_a_task_that_the_topic_finds_too_large(service: Service) -> None:
    service.publisher.error = MessageTooLarge()
    assert service.send(GOOD)[0] == 413


def test_an_unexpected_error_is_answered(service: Service) -> None:
    service.publisher.error = ZeroDivisionError("the prompt was: " + GOOD["prompt"])
    status, document, headers = service.send(GOOD)
    assert (status, headers["Content-Type"]) == (500, "application/problem+json")
    PROBLEM.validate(document)
    assert GOOD["prompt"] not in json.dumps(document)


def test_the_same_request_with_the_same_key_is_the_same_task(service: Service) -> None:
    request = {**GOOD, "idempotency_key": "order-7"}
    ids = {service.send(request)[1]["task_id"] for _ in range(3)}
    assert len(ids) == 1
    other = service.send({**request, "prompt": "another"})[1]["task_id"]
    assert other not in ids
    assert CALLER not in "".join(ids)


def test_tasks_without_a_key_are_all_new(service: Service) -> None:
    assert len({service.send(GOOD)[1]["task_id"] for _ in range(3)}) == 3


def test_the_trace_travels_with_the_task(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    service.send(GOOD, headers={"Traceparent": header})
    monkeypatch.setenv(
        "_X_AMZN_TRACE_ID",
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:0",
    )
    service.send(GOOD, headers={"traceparent": "nonsense"})
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    service.send(GOOD)
    assert [message.traceparent for message in service.publisher.messages] == [
        header,
        "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01",
        None,
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(
    body=st.text()
    | json_values.map(json.dumps)
    | st.dictionaries(st.sampled_from([field.name for field in TASK_FIELDS]), json_values).map(
        lambda value: json.dumps({**GOOD, **value})
    ),
    base64_flag=st.booleans(),
    content_type=st.none() | st.text() | st.just("application/json"),
)
def test_no_body_makes_the_function_fail(
    body: str, base64_flag: bool, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    with served() as service:
        status, document, _headers = service.send(body, base64=base64_flag, headers=headers)
        assert status in (202, 400, 404, 413, 415)
        if status == 202:
            assert len(service.publisher.messages) == 1
        else:
            PROBLEM.validate(document)
            assert service.publisher.messages == []
