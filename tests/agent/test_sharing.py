"""Which tasks may share a forward pass, and how many."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_stable_diffusion.contract import Parameters, TaskMessage, TaskRequest
from cdk_stable_diffusion.runtime_image.agent import compatibility
from cdk_stable_diffusion.runtime_image.agent.compatibility import memory_key, pass_key
from cdk_stable_diffusion.runtime_image.agent.engine import Drawing
from cdk_stable_diffusion.runtime_image.agent.sharing import Sharing
from cdk_stable_diffusion.runtime_image.agent.task_queue import Received
from cdk_stable_diffusion.runtime_image.agent.work import Work

BASE = {"model": "shapes", "prompt": "a red circle"}
OTHER_WORDS: dict[str, Any] = {
    "prompt": "a blue square",
    "negative_prompt": "red",
    "seed": 5,
    "num_images": 2,
    "output_format": "webp",
    "output_prefix": "shop",
    "context": {"order": 1},
    "idempotency_key": "k",
}
OTHER_WORK: dict[str, Any] = {
    "model": "sdxl",
    "width": 128,
    "height": 128,
    "steps": 9,
    "guidance_scale": 2.0,
    "scheduler": "euler",
    "clip_skip": 2,
    "adapters": [{"name": "bend", "weight": 0.5}],
    "embeddings": ["style"],
    "vae": "soft",
}
PICTURES: dict[str, dict[str, Any]] = {
    "image-to-image": {"image": "s3://bucket/key"},
    "inpainting": {"image": "s3://bucket/key", "mask": "s3://bucket/mask"},
    "upscale": {"image": "s3://bucket/key", "scale": 2, "prompt": ""},
}


def _work(*, tries: int = 1, attributes: dict[str, Any] | None = None, **request: Any) -> Work:
    task = TaskMessage(
        task_id="t",
        submitted_at="2026-01-31T12:00:00.000Z",
        runtime="r",
        runtime_class="dynamic",
        request=TaskRequest.parse({**BASE, **request}),
    )
    received = Received(
        message_id="m", receipt="r", body="", receive_count=tries, attributes=attributes or {}
    )
    work = Work(received, task, tries=tries)
    work.key = pass_key(work)
    return work


def _drawing(most_pictures: int | None = None, side: int = 64) -> Drawing:
    parameters = Parameters(width=side, height=side, steps=8, guidance_scale=3.0, seed=1)
    return Drawing(pictures=(), parameters=parameters, software={}, most_pictures=most_pictures)


def _sharing(most_tasks: int = 8, **measured: Any) -> Sharing:
    sharing = Sharing(most_tasks=most_tasks, task_timeout_seconds=100)
    if measured:
        sharing.measured([_work()], **{"drawing": _drawing(), "seconds": 1.0, **measured})
    return sharing


def test_words_and_seeds_may_differ_and_nothing_else() -> None:
    base = pass_key(_work())
    assert base is not None
    for name, value in OTHER_WORDS.items():
        assert pass_key(_work(**{name: value})) == base, name
    for name, value in OTHER_WORK.items():
        assert pass_key(_work(**{name: value})) not in (None, base), name
    # What comes later must be equal, too, until somebody has shown that it need not be.
    assert compatibility._OWN == OTHER_WORDS.keys()


@pytest.mark.parametrize("task_type", PICTURES)
def test_what_begins_with_a_picture_is_alone(task_type: str) -> None:
    assert pass_key(_work(task_type=task_type, **PICTURES[task_type])) is None


def test_what_failed_before_is_alone() -> None:
    assert pass_key(_work(tries=2)) is None
    assert pass_key(_work(attributes={"error_code": {"StringValue": "out-of-memory"}})) is None
    with_files = _work()
    with_files.inputs = {"control_image": b"x"}
    assert pass_key(with_files) is None


def test_what_is_tried_alone_after_a_pass_has_no_steps_of_that() -> None:
    work = _work()
    work.begin()
    work.step, work.steps = 7, 8
    work.begin()
    assert work.step == 0
    assert work.steps is None


def test_steps_take_no_memory_and_the_rest_may() -> None:
    base = memory_key(_work().task.request)
    for name, value in OTHER_WORK.items():
        same = memory_key(_work(**{name: value}).task.request) == base
        assert same == (name in ("steps", "scheduler")), name


def test_what_was_never_drawn_is_drawn_alone_first() -> None:
    sharing = _sharing()
    assert sharing.company(_work(), [_work(), _work()]) == []
    sharing.measured([_work()], _drawing(), 1.0)
    assert len(sharing.company(_work(), [_work(), _work()])) == 2
    assert sharing.company(_work(steps=9), [_work(steps=9)]) == []


def test_those_that_fit_go_and_the_others_stay() -> None:
    sharing = _sharing(most_tasks=3, drawing=_drawing())
    others = [
        _work(scheduler="euler"),
        _work(seed=1),
        _work(tries=2),
        _work(prompt="x"),
        _work(seed=2),
    ]
    assert sharing.company(_work(), others) == [others[1], others[3]]
    assert sharing.company(others[2], [_work(), _work(tries=2)]) == []


@pytest.mark.parametrize(
    ("measured", "most"),
    [
        ({"drawing": _drawing(most_pictures=3)}, 3),
        ({"drawing": _drawing(most_pictures=1)}, 1),
        # As many pixels as one task may have.
        ({"drawing": _drawing(side=2048)}, 4),
        # Half of the longest that a task may generate, each as long as it took alone.
        ({"seconds": 25.0}, 2),
        ({"seconds": 90.0}, 1),
        ({}, 8),
    ],
)
def test_what_a_pass_took_says_how_many_pictures_the_next_may_have(
    measured: dict[str, Any], most: int
) -> None:
    sharing = _sharing(**{"seconds": 1.0, **measured})
    assert 1 + len(sharing.company(_work(), [_work() for _ in range(20)])) == most
    twos = [_work(num_images=2) for _ in range(20)]
    assert 1 + len(sharing.company(twos[0], twos[1:])) == max(
        1, min(8, most // 2 if most < 8 else 8)
    )


def test_a_pass_that_was_too_large_is_halved_for_that_model_and_size() -> None:
    sharing = _sharing(drawing=_drawing())
    many = [_work() for _ in range(20)]

    def most() -> int:
        return 1 + len(sharing.company(many[0], many[1:]))

    sharing.was_too_large(many[:8])
    assert most() == 4
    # What is measured later does not undo it, and it holds for any number of steps.
    sharing.measured(many[:4], _drawing(), 1.0)
    sharing.measured([_work(steps=9)], _drawing(), 1.0)
    sharing.measured([_work(width=128)], _drawing(), 1.0)
    assert most() == 4
    assert len(sharing.company(_work(steps=9), [_work(steps=9) for _ in range(20)])) == 3
    assert len(sharing.company(_work(width=128), [_work(width=128) for _ in range(20)])) == 7
    sharing.was_too_large(many[:2])
    assert most() == 1


def test_a_pass_holds_what_is_alike_and_is_counted_once() -> None:
    sharing = _sharing(most_tasks=3, drawing=_drawing())
    alike, other = _work(), _work(model="sdxl")

    def passes(*hand: Work) -> int:
        return sharing.passes_before_another(hand)

    assert passes() == 0
    assert [passes(*[alike] * count) for count in (1, 2, 3, 4)] == [0, 0, 1, 1]
    assert passes(alike, other) == 2
    assert passes(other, alike) == 1
    assert passes(alike, other, alike) == 1
    assert passes(_work(tries=2), _work(tries=2)) == 2


def test_alone_each_task_has_a_pass() -> None:
    sharing = Sharing(most_tasks=1, task_timeout_seconds=100)
    works = [_work() for _ in range(3)]
    for work in works:
        work.key = sharing.key(work)
        assert work.key is None
    sharing.measured(works[:1], _drawing(), 1.0)
    assert sharing.company(works[0], works[1:]) == []
    assert sharing.passes_before_another(works) == 3
