"""Several tasks in one forward pass: each picture is the one that it would be alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion, Order, Picture
from cdk_stable_diffusion.runtime_image.engine.failure import Cancelled, EngineFailure
from cdk_stable_diffusion.runtime_image.engine.memory import PassMemory
from tests.engine.orders import ORDER as QUICK
from tests.engine.suited import STEPPERS, suit

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:diffusers"
)
TINY_SHAPES = Path(__file__).parents[2] / "src/cdk_stable_diffusion/local/models/tiny-shapes"
ORDER = replace(QUICK, prompt="a large red circle on a blue background", steps=4)
# One picture, two with words to avoid, one whose words are cut off.
MIXED = (
    ORDER,
    replace(ORDER, prompt="a small green square", negative_prompt="blue", seeds=(7, 8)),
    replace(ORDER, prompt="yellow " * 200, seeds=(1,)),
)


@pytest.fixture(scope="module")
def tiny() -> Diffusion:
    """Load the trained model once."""
    diffusion = Diffusion()
    diffusion.load(TINY_SHAPES)
    return diffusion


def _together(diffusion: Diffusion, orders: Sequence[Order]) -> list[list[Picture]]:
    drawn = diffusion.draw_together(orders, lambda *_: None, lambda: False)
    return [pictures for pictures, _ in drawn]


def _check(diffusion: Diffusion, orders: Sequence[Order]) -> None:
    """Check that orders drawn together give the pictures that they give alone."""
    for order, together in zip(orders, _together(diffusion, orders), strict=True):
        alone, _ = diffusion.draw(order, lambda *_: None, lambda: False)
        assert [picture.seed for picture in together] == list(order.seeds)
        for one, other in zip(together, alone, strict=True):
            # One level of eight bits: floating-point sums differ with the size of a batch.
            assert numpy.abs(_array(one) - _array(other)).max() <= 1


def _array(picture: Picture) -> numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.int16]]:
    shape = (picture.height, picture.width, 3)
    return numpy.frombuffer(picture.pixels, "uint8").reshape(shape).astype("int16")


@pytest.mark.parametrize("scheduler", STEPPERS)
def test_each_picture_is_the_one_of_its_task_alone(
    tiny: Diffusion, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suit(tiny, scheduler, monkeypatch)
    _check(tiny, [replace(order, scheduler=scheduler) for order in MIXED])


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 1.5, 12.0])
def test_so_it_is_with_any_guidance(tiny: Diffusion, guidance_scale: float) -> None:
    _check(tiny, [replace(order, guidance_scale=guidance_scale) for order in MIXED])


@pytest.mark.parametrize(("width", "height"), [(64, 128), (136, 72)])
def test_so_it_is_in_any_size(tiny: Diffusion, width: int, height: int) -> None:
    _check(tiny, [replace(order, width=width, height=height) for order in MIXED])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orders=st.lists(
        st.builds(
            replace,
            st.just(ORDER),
            prompt=st.sampled_from(["", "red", "a blue square", "x" * 300]),
            negative_prompt=st.sampled_from(["", "green", "y" * 300]),
            seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3).map(tuple),
        ),
        min_size=2,
        max_size=4,
    ),
    steps=st.integers(1, 3),
    guidance_scale=st.sampled_from([1.0, 4.0]),
    scheduler=st.sampled_from([None, "euler_ancestral", "lcm", "dpmpp_2m_sde"]),
)
def test_so_it_is_with_any_words_and_seeds(
    diffusion: Diffusion,
    orders: list[Order],
    steps: int,
    guidance_scale: float,
    scheduler: str | None,
) -> None:
    shared = {"steps": steps, "guidance_scale": guidance_scale, "scheduler": scheduler}
    _check(diffusion, [replace(order, **shared) for order in orders])  # type: ignore[arg-type]


def test_a_model_that_knows_no_empty_negative_prompt_has_two_passes(xl: Diffusion) -> None:
    """An XL model takes none for no condition at all, which an empty one is not."""
    assert xl._model().pipeline.config.force_zeros_for_empty_prompt
    steps: list[tuple[int, int]] = []
    orders = [MIXED[0], MIXED[1], replace(MIXED[0], seeds=(5,))]
    xl.draw_together(orders, lambda *step: steps.append(step), lambda: False)
    assert steps == [(step, 8) for step in range(1, 9)]
    _check(xl, orders)
    empty = replace(ORDER, negative_prompt=" ")
    assert _together(xl, [ORDER, empty])[0][0].pixels != _together(xl, [empty, ORDER])[0][0].pixels


def test_there_is_one_pass(tiny: Diffusion) -> None:
    steps: list[tuple[int, int]] = []
    drawn = tiny.draw_together(MIXED, lambda *step: steps.append(step), lambda: False)
    assert steps == [(step, 4) for step in range(1, 5)]
    assert [parameters["seed"] for _, parameters in drawn] == [1, 7, 1]


def test_what_is_not_alike_is_not_drawn_together(tiny: Diffusion) -> None:
    others = [
        replace(ORDER, steps=5),
        replace(ORDER, width=128),
        replace(ORDER, scheduler="euler"),
        replace(ORDER, guidance_scale=3.5),
        replace(ORDER, task_type="image-to-image", image=b"x"),
    ]
    for other in others:
        with pytest.raises(EngineFailure, match="not alike"):
            _together(tiny, [ORDER, other])
    with pytest.raises(EngineFailure, match="not alike"):
        _together(tiny, [others[-1], others[-1]])


def test_cancelling_stops_all_of_them_within_one_step(tiny: Diffusion) -> None:
    steps: list[int] = []
    with pytest.raises(Cancelled):
        tiny.draw_together(MIXED, lambda step, _: steps.append(step), lambda: len(steps) >= 2)
    assert steps == [1, 2]


class FakeDevice:
    """A GPU of 10 GB, of which a model takes 4."""

    def __init__(self) -> None:
        self.used = self.most = 4_000

    def begin(self) -> int:
        """Forget the peak, and return what is in use."""
        self.most = self.used
        return self.used

    def peak(self) -> int:
        """Return the most that was in use since then."""
        return self.most

    def free(self) -> int:
        """Return what could be allocated besides what is in use."""
        return 10_000 - self.used


@pytest.mark.parametrize(("pictures", "each", "most"), [(1, 500, 10), (4, 500, 10), (1, 5_900, 1)])
def test_as_many_pictures_fit_as_denoising_has_memory_for(
    pictures: int, each: int, most: int
) -> None:
    device = FakeDevice()
    memory = PassMemory(device)
    for _ in range(2):
        memory.begin()
        device.most += pictures * each
        memory.step()
        # Decoding, one after the other.
        device.most = 9_900
        assert memory.most_pictures(pictures) == most


def test_what_other_models_have_is_free_for_a_pass() -> None:
    device = FakeDevice()
    memory = PassMemory(device)
    memory.begin(spare=2_500)
    device.most += 500
    memory.step()
    assert memory.most_pictures(1) == 14
    device.most += 1_000
    assert memory.taken() == 1_500


def test_memory_that_is_not_measured_limits_nothing(tiny: Diffusion) -> None:
    memory = PassMemory(None)
    memory.begin()
    memory.step()
    assert memory.most_pictures(1) is None
    assert memory.taken() == 0
    tiny.draw(ORDER, lambda *_: None, lambda: False)
    assert tiny.most_pictures is None
