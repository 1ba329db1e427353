"""Drawing that begins with a picture, by the model that the package carries."""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageDraw, ImageOps

import cdk_stable_diffusion
from cdk_stable_diffusion.contract.limits import MAX_INPUT_PIXELS
from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion, Order, Picture
from cdk_stable_diffusion.runtime_image.engine.failure import Cancelled, EngineFailure
from cdk_stable_diffusion.runtime_image.engine.input_pictures import decode_mask, decode_picture
from cdk_stable_diffusion.runtime_image.engine.server import Server
from cdk_stable_diffusion.runtime_image.frames import FrameReader, FrameWriter
from tests.engine.orders import ORDER
from tests.engine.suited import STEPPERS, suit

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:diffusers"
)

TINY_SHAPES = Path(cdk_stable_diffusion.__file__).parent / "local" / "models" / "tiny-shapes"
RED_ON_WHITE = "a large red circle on a white background"
BLUE_ON_WHITE = "a large blue circle on a white background"


def _scene(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Return a large red circle on white, without a grey value in it."""
    scene = Image.new("RGB", size, "white")
    ImageDraw.Draw(scene).ellipse((12, 12, size[0] - 12, size[1] - 12), (230, 30, 30))
    return scene


def _file(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _right_half(size: tuple[int, int] = (64, 64)) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 2, 0, *size))
    return mask


FROM_IMAGE = replace(
    ORDER,
    prompt=RED_ON_WHITE,
    steps=8,
    task_type="image-to-image",
    image=_file(_scene()),
)
INPAINT = replace(FROM_IMAGE, task_type="inpainting", mask=_file(_right_half()))
UPSCALE = replace(FROM_IMAGE, task_type="upscale", scale=2, prompt="")


@pytest.fixture(scope="module")
def tiny() -> Diffusion:
    """Load the model that the package carries."""
    from cdk_stable_diffusion.runtime_image.engine.libraries import import_libraries

    import_libraries()
    diffusion = Diffusion()
    diffusion.load(TINY_SHAPES)
    return diffusion


def _draw(diffusion: Diffusion, order: Order, **changes: Any) -> list[Picture]:
    pictures, _ = diffusion.draw(replace(order, **changes), lambda *_: None, lambda: False)
    return pictures


def _array(picture: Picture | Image.Image) -> Any:
    if isinstance(picture, Image.Image):
        return numpy.asarray(picture.convert("RGB"), "float64")
    pixels = numpy.frombuffer(picture.pixels, "uint8")
    return pixels.reshape(picture.height, picture.width, 3).astype("float64")


def _distance(one: Picture | Image.Image, other: Picture | Image.Image) -> float:
    return float(numpy.abs(_array(one) - _array(other)).mean())


def test_a_small_strength_keeps_the_picture_and_a_large_one_does_not(tiny: Diffusion) -> None:
    prompt = "a small red square at the left on a green background"
    least, little, much = (
        _distance(
            _draw(tiny, FROM_IMAGE, prompt=prompt, strength=strength, guidance_scale=1.0)[0],
            _scene(),
        )
        for strength in (0.0, 0.15, 0.9)
    )
    # The autoencoder alone is 8 levels off.
    assert least == little < 20
    assert much > 80


def test_the_prompt_decides_where_the_picture_may_change(tiny: Diffusion) -> None:
    (picture,) = _draw(tiny, FROM_IMAGE, prompt=BLUE_ON_WHITE, strength=0.9)
    red, _, blue = _array(picture)[24:40, 24:40].mean(axis=(0, 1))
    assert blue > red + 80
    corner = _array(picture)[:6, :6].mean(axis=(0, 1))
    assert corner.min() > 200


def test_the_unmasked_part_is_left_as_it_was(tiny: Diffusion) -> None:
    (picture,) = _draw(tiny, INPAINT, prompt=BLUE_ON_WHITE)
    own, drawn = _array(_scene()), _array(picture)
    # To the bit, though all of it has been through the autoencoder.
    assert (drawn[:, :32] == own[:, :32]).all()
    assert numpy.abs(drawn[:, 34:] - own[:, 34:]).mean() > 20


def test_a_black_mask_keeps_all_and_a_white_one_nothing(tiny: Diffusion) -> None:
    black, white = (_file(Image.new("L", (64, 64), value)) for value in (0, 255))
    (kept,) = _draw(tiny, INPAINT, prompt=BLUE_ON_WHITE, mask=black)
    assert kept.pixels == _scene().tobytes()
    (drawn,) = _draw(tiny, INPAINT, prompt=BLUE_ON_WHITE, mask=white)
    assert _distance(drawn, _scene()) > 20


@pytest.mark.parametrize("order", [FROM_IMAGE, INPAINT], ids=["image-to-image", "inpainting"])
def test_a_picture_does_not_depend_on_its_neighbours(tiny: Diffusion, order: Order) -> None:
    order = replace(order, prompt=BLUE_ON_WHITE, strength=0.7)
    together = _draw(tiny, order, seeds=(5, 6, 7))
    for picture in together:
        (alone,) = _draw(tiny, order, seeds=(picture.seed,))
        assert numpy.abs(_array(picture) - _array(alone)).max() <= 1
    assert len({picture.pixels for picture in together}) == 3


def test_nothing_stays_behind_for_the_next_task(tiny: Diffusion) -> None:
    text = replace(FROM_IMAGE, task_type="text-to-image", image=None)
    (before,) = _draw(tiny, text)
    _draw(tiny, FROM_IMAGE, scheduler="euler")
    _draw(tiny, INPAINT, scheduler="dpmpp_2m_karras")
    (after,) = _draw(tiny, text)
    assert before.pixels == after.pixels


def test_the_weights_are_there_once(random_model: Path) -> None:
    diffusion = Diffusion()
    diffusion.load(TINY_SHAPES)
    loaded = diffusion._model().pipeline
    for order in (FROM_IMAGE, INPAINT):
        _draw(diffusion, order, steps=2)
        other = diffusion._model().others[order.task_type]
        for part in ("unet", "vae", "text_encoder"):
            assert getattr(other, part) is getattr(loaded, part)
    diffusion.load(random_model)
    # Otherwise the model of before would stay in memory beside the new one.
    assert diffusion._model().others == {}


@pytest.mark.parametrize("scheduler", STEPPERS)
@pytest.mark.parametrize("order", [FROM_IMAGE, INPAINT], ids=["image-to-image", "inpainting"])
def test_every_scheduler_begins_with_a_picture(
    tiny: Diffusion, order: Order, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suit(tiny, scheduler, monkeypatch)
    for strength in (0.01, 0.5, 1.0):
        changes = {"scheduler": scheduler, "strength": strength, "steps": 4}
        (first,), (again,) = (_draw(tiny, order, **changes) for _ in range(2))
        assert first.pixels == again.pixels


@pytest.mark.parametrize(("steps", "strength", "made"), [(49, 0.0, 1), (8, 0.5, 4), (8, 1.0, 8)])
def test_that_share_of_the_steps_is_made_and_one_at_least(
    tiny: Diffusion, steps: int, strength: float, made: int
) -> None:
    seen: list[tuple[int, int]] = []
    order = replace(FROM_IMAGE, steps=steps, strength=strength)
    _, parameters = tiny.draw(order, lambda *step: seen.append(step), lambda: False)
    assert seen == [(step, made) for step in range(1, made + 1)]
    assert (parameters["steps"], parameters["strength"]) == (steps, strength)


def test_the_usual_strength_is_told(tiny: Diffusion) -> None:
    for order, usual in ((FROM_IMAGE, 0.8), (INPAINT, 1.0)):
        _, parameters = tiny.draw(replace(order, steps=2), lambda *_: None, lambda: False)
        assert parameters["strength"] == usual


def test_cancelling_stops_within_one_step(tiny: Diffusion) -> None:
    steps: list[int] = []
    with pytest.raises(Cancelled):
        tiny.draw(
            replace(INPAINT, steps=50), lambda step, _: steps.append(step), lambda: len(steps) >= 2
        )
    assert steps == [1, 2]


@pytest.mark.parametrize(
    ("own", "given", "made"),
    [
        ((100, 72), {}, (96, 72)),
        ((100, 72), {"width": 64, "height": 80}, (64, 80)),
        ((64, 64), {"width": 128}, (128, 64)),
        ((20, 20), {"width": 64, "height": 64}, (64, 64)),
    ],
)
@pytest.mark.parametrize("order", [FROM_IMAGE, INPAINT], ids=["image-to-image", "inpainting"])
def test_the_size_is_the_given_one_or_the_pictures_own(
    tiny: Diffusion,
    order: Order,
    own: tuple[int, int],
    given: dict[str, int],
    made: tuple[int, int],
) -> None:
    picture = _file(Image.new("RGB", own, "red"))
    mask = _file(Image.new("L", own, 255))
    (drawn,) = _draw(tiny, order, image=picture, mask=mask, steps=1, **given)
    assert (drawn.width, drawn.height) == made


@pytest.mark.parametrize(
    ("own", "changes", "says"),
    [
        ((40, 64), {}, "makes 40x64, a side must be 64 to 2048: give width and height"),
        ((2100, 64), {}, "makes 2096x64, a side must be 64 to 2048"),
        ((2048, 2048), {"seeds": (1, 2, 3, 4, 5)}, "makes 5 times 2048x2048, at most 16777216"),
    ],
)
def test_a_picture_of_a_size_that_cannot_be_drawn_is_refused(
    tiny: Diffusion, own: tuple[int, int], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(EngineFailure, match=says) as caught:
        _draw(tiny, FROM_IMAGE, image=_file(Image.new("RGB", own)), **changes)
    assert (caught.value.code, caught.value.transient) == ("unsupported-request", False)


def test_a_mask_of_another_size_is_refused(tiny: Diffusion) -> None:
    with pytest.raises(EngineFailure, match="as large as image, 64x64, is 32x64") as caught:
        _draw(tiny, INPAINT, mask=_file(Image.new("L", (32, 64))))
    assert caught.value.code == "input-invalid"


@pytest.mark.parametrize("order", [FROM_IMAGE, INPAINT, UPSCALE])
def test_a_picture_that_is_missing_is_named(tiny: Diffusion, order: Order) -> None:
    with pytest.raises(EngineFailure, match="image is missing"):
        _draw(tiny, order, image=None)
    with pytest.raises(EngineFailure, match="mask is missing"):
        _draw(tiny, INPAINT, mask=None)


def test_a_model_of_the_xl_kind_begins_with_a_picture(xl: Diffusion) -> None:
    for order in (FROM_IMAGE, INPAINT):
        order = replace(order, prompt="a red circle", steps=3)
        (first,), (again,) = (_draw(xl, order, seeds=(3,)) for _ in range(2))
        assert first.pixels == again.pixels
        assert xl._model().others[order.task_type].unet is xl._model().pipeline.unet


@pytest.mark.parametrize("scale", [2, 4])
def test_upscaling_keeps_what_is_there(tiny: Diffusion, scale: int) -> None:
    own = _scene((48, 32))
    pictures, parameters = tiny.draw(
        replace(UPSCALE, image=_file(own), scale=scale), lambda *_: None, lambda: False
    )
    (picture,) = pictures
    assert (picture.width, picture.height) == (48 * scale, 32 * scale)
    assert (parameters["steps"], parameters["guidance_scale"]) == (None, None)
    assert parameters["scale"] == scale
    larger = Image.frombytes("RGB", (picture.width, picture.height), picture.pixels)
    assert _distance(larger.resize(own.size, Image.Resampling.BOX), own) < 2
    # Smoother than repeating each pixel.
    repeated = own.resize(larger.size, Image.Resampling.NEAREST)
    assert len(larger.getcolors(10_000) or []) > len(repeated.getcolors(10_000) or [])


def test_what_upscaling_is_waits_for_the_model_to_say() -> None:
    """A new process has no model yet, and an upscaler's task must not be one of Lanczos."""
    with pytest.raises(EngineFailure, match="no model is loaded") as caught:
        _draw(Diffusion(), UPSCALE, image=_file(_scene((48, 32))), scale=4)
    assert caught.value.transient


def test_one_colour_stays_that_colour_however_large(tiny: Diffusion) -> None:
    own = Image.new("RGB", (5, 3), (17, 130, 255))
    (picture,) = _draw(tiny, UPSCALE, image=_file(own), scale=4)
    assert set(zip(*[iter(picture.pixels)] * 3, strict=True)) == {(17, 130, 255)}


@pytest.mark.parametrize("own", [(2_100, 2_100), (9_000, 8)])
def test_what_would_be_too_large_is_not_made(tiny: Diffusion, own: tuple[int, int]) -> None:
    with pytest.raises(EngineFailure, match="scale 4 of the image makes") as caught:
        _draw(tiny, UPSCALE, image=_file(Image.new("RGB", own)), scale=4)
    assert caught.value.code == "unsupported-request"


# Pictures of every kind that the three formats can hold: how they look when they are decoded.
def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _file(Image.new("RGB", (30, 20), "red"), "JPEG", exif=exif)


def _moving() -> bytes:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    return _file(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)


KINDS: dict[str, tuple[bytes, tuple[int, int], tuple[int, int, int]]] = {
    "PNG": (_file(Image.new("RGB", (30, 20), "red")), (30, 20), (255, 0, 0)),
    "JPEG": (_file(Image.new("RGB", (30, 20), "red"), "JPEG"), (30, 20), (254, 0, 0)),
    "WebP": (
        _file(Image.new("RGB", (30, 20), "red"), "WEBP", lossless=True),
        (30, 20),
        (255, 0, 0),
    ),
    "turned": (_turned(), (20, 30), (254, 0, 0)),
    "moving": (_moving(), (30, 20), (255, 0, 0)),
    "transparent": (_file(Image.new("RGBA", (30, 20), (9, 9, 9, 0))), (30, 20), (255, 255, 255)),
    "palette": (_file(Image.new("RGB", (30, 20), "red").quantize(4)), (30, 20), (255, 0, 0)),
    "grey": (_file(Image.new("L", (30, 20), 77)), (30, 20), (77, 77, 77)),
    "grey with alpha": (_file(Image.new("LA", (30, 20), (77, 255))), (30, 20), (77, 77, 77)),
    "one bit": (_file(Image.new("1", (30, 20), 1)), (30, 20), (255, 255, 255)),
    "16 bits": (_file(Image.new("I;16", (30, 20), 0x8000)), (30, 20), (128, 128, 128)),
    "CMYK": (_file(Image.new("CMYK", (30, 20), (0, 0, 0, 0)), "JPEG"), (30, 20), (255,) * 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_decoded(kind: str) -> None:
    data, size, colour = KINDS[kind]
    picture = decode_picture(data, "image", max_pixels=600)
    assert (picture.mode, picture.size) == ("RGB", size)
    assert numpy.abs(_array(picture) - numpy.array(colour)).max() <= 2


@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_is_turned_as_its_exif_says(orientation: int) -> None:
    own = Image.effect_noise((7, 5), 90).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _file(own, exif=exif)
    with Image.open(io.BytesIO(data)) as file:
        expected = ImageOps.exif_transpose(file)
    decoded = decode_picture(data, "image", max_pixels=35)
    assert (decoded.size, decoded.tobytes()) == (expected.size, expected.tobytes())
    assert decoded.size == ((5, 7) if 5 <= orientation <= 8 else (7, 5))


# The width is a text: PIL reads it, and cannot write it again.
BROKEN_EXIF = (
    b"Exif\0\0MM\0*\0\0\0\x08\0\x02"
    b"\x01\0\0\x02\0\0\0\x01a\0\0\0"
    b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    b"\0\0\0\0"
)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize(
    ("exif", "size"),
    [
        (BROKEN_EXIF, (20, 30)),
        (b"Exif\0\0", (30, 20)),
        (b"Exif\0\0MM\0*\xff\xff\xff\xff", (30, 20)),
    ],
    ids=["cannot be written", "empty", "points nowhere"],
)
def test_a_picture_with_an_exif_that_is_broken_is_a_picture(
    exif: bytes, size: tuple[int, int]
) -> None:
    data = _file(Image.new("RGB", (30, 20), "red"), "JPEG", exif=exif)
    assert decode_picture(data, "image", max_pixels=600).size == size


def test_what_the_memory_does_not_hold_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", full)
    with pytest.raises(EngineFailure) as caught:
        decode_picture(KINDS["JPEG"][0], "image", max_pixels=600)
    assert (caught.value.code, caught.value.transient) == ("out-of-memory", True)


def test_a_transparent_mask_keeps_the_picture() -> None:
    mask = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 2, 4))
    decoded = numpy.asarray(decode_mask(_file(mask), "mask", max_pixels=16))
    assert (decoded[:, :2] == 255).all() and (decoded[:, 2:] == 0).all()


SMALL = Image.new("RGB", (30, 20), "red")
BAD = {
    "empty": b"",
    "text": b"hunter2",
    "GIF": _file(SMALL, "GIF"),
    "TIFF": _file(SMALL, "TIFF"),
    "BMP": _file(SMALL, "BMP"),
    "PPM": _file(SMALL, "PPM"),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 20\n%%EndComments\n hunter2",
    "PNG cut off": _file(_scene())[:-200],
    "PNG with wrong sums": _file(SMALL).replace(b"IDAT", b"IDAT\0", 1),
    "JPEG cut off": _file(_scene(), "JPEG")[:400],
    "WebP cut off": _file(_scene(), "WEBP")[:60],
    "PNG with a text that swells": b"",
}


def _swelling_text() -> bytes:
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("hunter2", "x" * 5_000_000, zip=True)
    return _file(SMALL, pnginfo=info)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _swelling_profile() -> bytes:
    good = _file(SMALL)
    profile = _chunk(b"iCCP", b"hunter2\0\0" + zlib.compress(bytes(50_000_000)))
    return good[:33] + profile + good[33:]


BAD["PNG with a text that swells"] = _swelling_text()
BAD["PNG with a colour profile that swells"] = _swelling_profile()


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_refused_without_being_told_of(kind: str) -> None:
    with pytest.raises(EngineFailure) as caught:
        decode_picture(BAD[kind], "mask", max_pixels=MAX_INPUT_PIXELS)
    assert (caught.value.code, caught.value.transient) == ("input-invalid", False)
    assert caught.value.detail == "mask cannot be decoded as a PNG, JPEG or WebP"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_bomb_is_refused_by_its_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    def never(*_: Any) -> None:
        raise AssertionError("is decoded")

    data = _file(Image.new("RGB", (100, 100)), kind)
    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    with pytest.raises(EngineFailure, match="at most 9999 pixels, has 10000") as caught:
        decode_picture(data, "image", max_pixels=9_999)
    assert caught.value.code == "input-invalid"


def test_the_second_header_of_a_file_counts_if_the_decoder_believes_it() -> None:
    good = _file(Image.new("RGB", (10, 10)))
    bomb = _chunk(b"IHDR", struct.pack(">IIBBBBB", 6_000, 6_000, 8, 2, 0, 0, 0))
    with pytest.raises(EngineFailure, match="at most 16777216 pixels, has 36000000"):
        decode_picture(good[:33] + bomb + good[33:], "image", max_pixels=MAX_INPUT_PIXELS)


def test_files_come_to_the_engine_behind_the_command() -> None:
    orders: list[Order] = []

    class Recording:
        device = "cpu"
        most_pictures: int | None = None

        def load(self, directory: Path, digest: str) -> str:
            raise AssertionError("is never asked")

        def warm(self, directory: Path, digest: str) -> None:
            raise AssertionError("is never asked")

        def draw(self, order: Order, *_: object) -> tuple[list[Picture], dict[str, Any]]:
            orders.append(order)
            return [], {}

        def draw_together(self, *_: object) -> None:
            raise AssertionError("is never asked")

    commands, answers = os.pipe(), os.pipe()
    reader, writer = FrameReader(commands[0]), FrameWriter(answers[1])
    server, events = Server(reader, writer), FrameReader(answers[0])
    command: dict[str, Any] = {
        "command": "generate",
        "prompt": BLUE_ON_WHITE,
        "negative_prompt": "",
        "seeds": [1],
        **dict.fromkeys(("width", "height", "steps", "guidance_scale", "scheduler")),
    }
    inputs = {"image": 5, "mask": 4}
    inpaint = {**command, "task_type": "inpainting", "inputs": inputs, "max_input_pixels": 7}

    def told(identifier: int, header: dict[str, Any], payload: bytes) -> str:
        server._do({**header, "id": identifier}, Recording(), payload)
        frame = events.read()
        assert frame is not None and frame.header["id"] == identifier
        return str(frame.header.get("detail", frame.header["event"]))

    assert told(1, inpaint, b"IMAGEMASK") == "done"
    for payload in (b"IMAGEMAS", b"IMAGEMASKS", b""):
        assert told(2, inpaint, payload) == "the command's files are not as it says"
    assert told(3, command, b"x") == "the command's files are not as it says"
    unknown = {**inpaint, "inputs": {"prompt": 9}}
    assert told(4, unknown, b"IMAGEMASK") == "the command holds a file without a use"
    assert told(5, command, b"") == "done"
    with_files, without = orders
    assert (with_files.image, with_files.mask) == (b"IMAGE", b"MASK")
    assert (with_files.task_type, with_files.max_input_pixels) == ("inpainting", 7)
    assert (without.image, without.mask, without.task_type) == (None, None, "text-to-image")
    for descriptor in (*commands, *answers):
        os.close(descriptor)
