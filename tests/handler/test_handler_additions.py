"""What is added to a model must be in the model bucket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cdk_stable_diffusion.contract import TaskRequest
from cdk_stable_diffusion.handler.refusal import Refusal
from cdk_stable_diffusion.handler.submit import LOOK_UP_SECONDS, Submission
from tests.handler.fakes import ROUTES, FakeCatalogue, FakePublisher, Service

BUCKET = ("pixel-art-v2", "cat-toy", "soft-vae", "dreamy-v2")
ADDITIONS: dict[str, Any] = {
    "adapters": [{"name": "pixel-art-v2", "weight": 0.5}],
    "embeddings": ["cat-toy"],
    "vae": "soft-vae",
}


@pytest.fixture
def filled(service: Service) -> Service:
    service.catalogue.models = BUCKET
    return service


@pytest.mark.parametrize("model", ["tiny-shapes", "dreamy-v2"])
def test_what_the_bucket_has_is_added(filled: Service, model: str) -> None:
    status, _, _ = filled.send({"model": model, "prompt": "p", **ADDITIONS})
    assert status == 202
    (message,) = filled.publisher.messages
    assert message.request.to_dict()["adapters"] == ADDITIONS["adapters"]
    assert (message.request.embeddings, message.request.vae) == (("cat-toy",), "soft-vae")


def test_everything_that_is_missing_is_named_with_what_is_near(filled: Service) -> None:
    status, document, _ = filled.send(
        {
            "model": "tiny-shapes",
            "prompt": "p",
            "adapters": [{"name": "pixel-art-v2"}, {"name": "Pixel-Art-v3"}, {"name": "zzz"}],
            "embeddings": ["cat-toy", "cat-toys"],
            "vae": "qqqq",
        }
    )
    assert status == 404
    assert not filled.publisher.messages
    says = {error["pointer"]: error["detail"] for error in document["errors"]}
    assert set(says) == {"/adapters/1/name", "/adapters/2/name", "/embeddings/1", "/vae"}
    assert says["/adapters/1/name"] == (
        "is 'Pixel-Art-v3', which is not in the model bucket; near it are pixel-art-v2"
    )
    assert says["/adapters/2/name"] == "is 'zzz', which is not in the model bucket"
    assert "near it are cat-toy" in says["/embeddings/1"]
    assert document["detail"] == (
        "The model bucket does not have 'Pixel-Art-v3', 'zzz', 'cat-toys', 'qqqq'."
    )


def test_a_bucket_that_cannot_be_asked_refuses_nothing(filled: Service) -> None:
    filled.catalogue.down = True
    assert filled.send({"model": "tiny-shapes", "prompt": "p", **ADDITIONS})[0] == 202


def test_without_additions_nothing_is_asked(filled: Service) -> None:
    assert filled.send({"model": "tiny-shapes", "prompt": "p"})[0] == 202
    assert not filled.catalogue.asked


def _submission(moments: Iterator[float], catalogue: FakeCatalogue) -> Submission:
    return Submission(
        routes=ROUTES,
        output_bucket="pictures",
        publisher=FakePublisher(),
        catalogue=catalogue,
        clock=lambda: next(moments),
    )


def test_looking_up_leaves_time_for_sending() -> None:
    request = TaskRequest.parse(
        {"model": "tiny-shapes", "prompt": "p", "adapters": [{"name": f"a{n}"} for n in range(8)]}
    )
    catalogue = FakeCatalogue(models=[adapter.name for adapter in request.adapters])
    # The third look-up would begin too late.
    moments = iter([0.0, 0.0, 1.0, *[LOOK_UP_SECONDS] * 6])
    _submission(moments, catalogue).submit(request, caller="c")
    assert catalogue.asked == ["a0", "a1"]
    with pytest.raises(Refusal, match="'a0', 'a1'"):
        _submission(iter([0.0, 0.0, 1.0, *[9.0] * 6]), FakeCatalogue(models=[])).submit(
            request, caller="c"
        )
