"""What is malformed is refused with every fault named, and nothing of it reaches a queue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema

from cdk_stable_diffusion.contract.schemas import schema
from tests.end_to_end.running import Service, until

GOOD = {"model": "tiny-shapes", "prompt": "a red circle on a blue background"}
RIGHT_KEY = "the right key"
PROBLEM = jsonschema.Draft4Validator(schema("problem"))


@dataclass(frozen=True)
class Refused:
    """A request, and what the API must say to it."""

    name: str
    body: bytes
    faults: frozenset[str] | None = frozenset({""})
    status: int = 400
    headers: Mapping[str, str] | None = None


def task(name: str, *faults: str, status: int = 400, **fields: Any) -> Refused:
    """Return a request whose fields replace those of a good one; `...` takes one out."""
    values = {key: value for key, value in {**GOOD, **fields}.items() if value is not ...}
    return Refused(name, json.dumps(values).encode(), frozenset(faults), status)


def raw(name: str, body: str | bytes) -> Refused:
    """Return a request whose body as a whole is wrong."""
    return Refused(name, body if isinstance(body, bytes) else body.encode())


def with_headers(name: str, status: int, body: bytes | None = None, **headers: str) -> Refused:
    """Return a good request with other headers than it needs."""
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    return Refused(name, body or json.dumps(GOOD).encode(), None, status, names)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


MALFORMED = (
    # Not a task at all.
    raw("no body", ""),
    raw("not JSON", "a red circle"),
    raw("JSON cut short", '{"model": "tiny-shapes", "prompt": "a red'),
    raw("an array", '[{"model": "tiny-shapes"}]'),
    raw("a string", '"a red circle"'),
    raw("null", "null"),
    raw("two documents", json.dumps(GOOD) * 2),
    raw("a key twice", '{"model":"tiny-shapes","prompt":"a","prompt":"b"}'),
    raw("not a number", '{"model":"tiny-shapes","prompt":"a","guidance_scale":NaN}'),
    raw("half a character", '{"model":"tiny-shapes","prompt":"\\ud800"}'),
    raw("not UTF-8", b'{"model":"tiny-shapes","prompt":"\xff\xfe"}'),
    raw("nested without end", '{"context":' + "[" * 20_000 + "]" * 20_000 + "}"),
    # Fields missing or unknown.
    task("nothing in it", "/model", "/prompt", model=..., prompt=...),
    task("no model", "/model", model=...),
    task("no prompt", "/prompt", prompt=...),
    task("an unknown field", "/promt", promt="a circle"),
    task("three unknown fields", "/a", "/b", "/c~1d", a=1, b=2, **{"c/d": 3}),
    # Wrong types.
    task("a number for the prompt", "/prompt", prompt=7),
    task("an object for the model", "/model", model={"name": "tiny-shapes"}),
    task("text for numbers", "/steps", "/seed", "/width", steps="8", seed="1", width="64"),
    task("fractions for whole numbers", "/steps", "/num_images", steps=8.5, num_images=1.5),
    task("booleans for numbers", "/steps", "/guidance_scale", steps=True, guidance_scale=False),
    # Out of range.
    task("an empty prompt", "/prompt", prompt=""),
    task("a prompt too long", "/prompt", prompt="a" * 4_001),
    task("too many steps", "/steps", steps=151),
    task("no steps", "/steps", steps=0),
    task("a size off the grid", "/width", "/height", width=65, height=100.5),
    task("a size too large", "/width", "/height", width=4096, height=4096),
    task("too many pixels", "/num_images", width=2048, height=2048, num_images=8),
    task("too many pictures", "/num_images", num_images=9),
    task("a negative seed", "/seed", seed=-1),
    task("a seed too large", "/seed", seed=2**32),
    task("a huge number", "/seed", seed=10**300),
    task("too much guidance", "/guidance_scale", guidance_scale=31),
    # Not one of the choices, or not allowed where it goes.
    task("unknown choices", "/scheduler", "/output_format", scheduler="best", output_format="gif"),
    task("a folder above", "/output_prefix", output_prefix="../other"),
    task("a model that is a path", "/model", model="../models/tiny-shapes"),
    task("a context too large", "/context", context="x" * 9_000),
    task("a context too deep", "/context", context=nested(40)),
    task("a key with a space", "/idempotency_key", idempotency_key="a b"),
    task(
        "everything at once",
        "/model",
        "/prompt",
        "/steps",
        "/seed",
        "/scheduler",
        "/output_prefix",
        "/extra",
        model="",
        prompt=None,
        steps=0,
        seed=-1,
        scheduler="x",
        output_prefix="/x",
        extra=1,
    ),
    # Good, but for a model that nobody serves, too large, or from nobody.
    task("an unknown model", "/model", status=404, model="tiny-shape"),
    Refused("a body too large", b'{"prompt":"' + b"a" * 70_000 + b'"}', status=413),
    with_headers("a form", 415, x_api_key=RIGHT_KEY, content_type="text/plain"),
    with_headers("no key", 403, content_type="application/json"),
    with_headers("a wrong key", 403, x_api_key="wrong", content_type="application/json"),
)


def test_there_are_forty_of_them() -> None:
    assert len(MALFORMED) >= 40
    assert len({each.name for each in MALFORMED}) == len(MALFORMED)


def test_each_is_refused_with_every_fault_and_none_goes_on_a_queue(service: Service) -> None:
    service.forget_results()
    wrong = {}
    for each in MALFORMED:
        headers = each.headers and {
            name: service.details["api_key"] if value == RIGHT_KEY else value
            for name, value in each.headers.items()
        }
        status, body = service.client.post(each.body, headers)
        document = json.loads(body)
        PROBLEM.validate(document)
        faults = frozenset(fault["pointer"] for fault in document.get("errors", ()))
        expected = frozenset() if each.faults is None else each.faults
        if (status, document["status"], faults) != (each.status, each.status, expected):
            wrong[each.name] = (status, document)
    assert wrong == {}

    # Good tasks to both runtimes overtake nothing: had another been sent, its result would be here.
    models = ("tiny-shapes", "tiny-shapes-copy")
    good = [service.client.submit({**GOOD, "model": each}).task_id for each in models]
    service.results(good)
    until(lambda: set(service.messages().values()) == {0}, "all queues are empty")
    assert service.unclaimed == {}


def test_a_model_that_is_misspelt_is_answered_with_its_name(service: Service) -> None:
    _status, body = service.client.post(json.dumps({**GOOD, "model": "tiny-shape"}).encode())
    (fault,) = json.loads(body)["errors"]
    assert "tiny-shapes" in fault["detail"]
