"""Tells what a picture shows, to judge it against the prompt it was made from.

It knows nothing of the model. It names each pixel's colour by the palette, takes the commonest
colour along the border for the background, splits the rest into connected patches, and lays every
shape, at every size, over every place of a patch: the shape that covers it best is its shape.
NumPy and Pillow are all it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.tiny_model.draw import PALETTE, PICTURE_SIZE, cover
from tools.tiny_model.grammar import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    TwoObjects,
    parse,
)

_Mask: TypeAlias = npt.NDArray[np.bool_]
_Numbers: TypeAlias = npt.NDArray[np.float32]

# A patch of fewer pixels is a speck, not a thing.
_SMALLEST_PATCH: Final = 24
# A pixel belongs to a thing when it is at least this far on the way from the background's colour.
_FOREGROUND_DISTANCE: Final = 60.0
# A patch has the shape that agrees with it best, if it agrees this well: 1 is a perfect fit.
_LEAST_AGREEMENT: Final = 0.75
_TEMPLATE_RADII: Final = tuple(radius / 2 for radius in range(11, 47))
# How far a shape's radius may be from half the longer side of a patch's box.
_RADIUS_TOLERANCE: Final = 3.0
# Where the sizes begin, by half the longer side of a thing's box, and where the center ends.
_MEDIUM_RADIUS: Final = 11.5
_LARGE_RADIUS: Final = 16.5
_CENTRAL_OFFSET: Final = 4.5
# For each of the four directions: the pixels that have a neighbour there, and those neighbours.
_NEIGHBOURS: Final = (
    (np.s_[1:], np.s_[:-1]),
    (np.s_[:-1], np.s_[1:]),
    (np.s_[:, 1:], np.s_[:, :-1]),
    (np.s_[:, :-1], np.s_[:, 1:]),
)
_PALETTE: Final = np.array([PALETTE[colour] for colour in COLOURS], dtype=np.float32)


@dataclass(frozen=True)
class Patch:
    """One connected thing that a picture shows.

    Attributes:
        colour: The colour that most of it has.
        shape: The shape it resembles most, or ``None`` if it resembles none.
        x: The middle of its box, in pixels from the left edge of a 64-pixel picture.
        y: The middle of its box, in pixels from the top edge of a 64-pixel picture.
        radius: Half the longer side of its box.
    """

    colour: str
    shape: str | None
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Verdict:
    """What is right about a picture.

    Attributes:
        background: Whether the background has the colour that was asked for.
        colours: Whether each thing has its colour, in the order of the prompt.
        shapes: Whether each thing has its shape, in the order of the prompt.
        size: Whether the thing has its size; ``None`` if the prompt leaves it open.
        position: Whether the thing is in its place; ``None`` if the prompt leaves it open.
        relation: Whether the first of two things is where it should be, as seen from the second;
            ``None`` for a prompt with one thing.
    """

    background: bool
    colours: tuple[bool, ...]
    shapes: tuple[bool, ...]
    size: bool | None
    position: bool | None
    relation: bool | None

    @property
    def things_right(self) -> bool:
        """Whether the background and every colour and shape are right, wherever they are."""
        return self.background and all(self.colours) and all(self.shapes)

    @property
    def all_right(self) -> bool:
        """Whether the picture shows all that the prompt asks for."""
        return self.things_right and False not in (self.size, self.position, self.relation)


def judge(image: Image.Image, prompt: str) -> Verdict:
    """Judges a picture against a prompt.

    Args:
        image: The picture, of any size.
        prompt: A prompt of the tiny model's grammar.

    Returns:
        What is right about the picture.

    Raises:
        ValueError: The prompt is not one of the grammar.
    """
    return judge_scene(image, parse(prompt))


def judge_scene(image: Image.Image, scene: Scene) -> Verdict:
    """Judges a picture against a scene, as ``judge`` does."""
    background, patches = look(image)
    things = scene.things
    # A picture with too many or too few things shows the wrong thing, so none of them counts.
    found = _best_order(patches, things) if len(patches) == len(things) else ()
    size, position, relation = _arrangement(found, scene)
    return Verdict(
        background=background == scene.background,
        colours=_compare([patch.colour for patch in found], [thing.colour for thing in things]),
        shapes=_compare([patch.shape for patch in found], [thing.shape for thing in things]),
        size=size,
        position=position,
        relation=relation,
    )


def look(image: Image.Image) -> tuple[str, tuple[Patch, ...]]:
    """Says what a picture shows.

    Args:
        image: The picture, of any size.

    Returns:
        The background's colour, and the things in front of it, the widest first.
    """
    pixels = _pixels(image)
    names = _nearest_colours(pixels)
    background = _commonest(_border(names))
    distance = np.linalg.norm(pixels - np.median(_border(pixels), axis=0), axis=-1)
    foreground = (distance > _FOREGROUND_DISTANCE) & (names != background)
    patches = [_patch(mask, names, pixels, background) for mask in _connected(foreground)]
    patches.sort(key=lambda patch: -patch.radius)
    return COLOURS[background], tuple(patches)


def _pixels(image: Image.Image) -> _Numbers:
    picture = image.convert("RGB")
    if picture.size != (PICTURE_SIZE, PICTURE_SIZE):
        picture = picture.resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float32)


def _nearest_colours(pixels: _Numbers) -> npt.NDArray[np.intp]:
    """Returns, for each pixel, the number of the palette's colour that it is nearest to."""
    distances = np.linalg.norm(pixels[:, :, None] - _PALETTE, axis=-1)
    return np.asarray(distances.argmin(axis=-1))


def _border(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the outermost two pixels of all sides, one after another."""
    inside = np.zeros(values.shape[:2], dtype=bool)
    inside[2:-2, 2:-2] = True
    return values[~inside]


def _commonest(numbers: npt.NDArray[np.intp]) -> int:
    return int(np.bincount(numbers, minlength=len(COLOURS)).argmax())


def _patch(mask: _Mask, names: npt.NDArray[np.intp], pixels: _Numbers, background: int) -> Patch:
    colour = _commonest(names[mask])
    rows, columns = np.nonzero(mask)
    radius = float(max(np.ptp(rows), np.ptp(columns)) + 1) / 2
    cover_of_thing = _cover_by(pixels, colour, background) * _grown(_grown(mask))
    return Patch(
        colour=COLOURS[colour],
        shape=_nearest_shape(cover_of_thing, radius),
        x=float(columns.min() + columns.max()) / 2,
        y=float(rows.min() + rows.max()) / 2,
        radius=radius,
    )


def _cover_by(pixels: _Numbers, colour: int, background: int) -> _Numbers:
    """Returns how far each pixel is on the way from the background to a colour, from 0 to 1."""
    way = _PALETTE[colour] - _PALETTE[background]
    share = (pixels - _PALETTE[background]) @ way / (way @ way)
    return np.asarray(np.clip(share, 0.0, 1.0), dtype=np.float32)


def _grown(mask: _Mask) -> _Mask:
    """Returns a mask with its neighbouring pixels."""
    grown = mask.copy()
    for target, origin in _NEIGHBOURS:
        grown[target] |= mask[origin]
    return grown


def _connected(mask: _Mask) -> list[_Mask]:
    """Splits a mask into its connected patches, leaving out specks."""
    numbers = np.arange(1, mask.size + 1).reshape(mask.shape) * mask
    # Every pixel takes the highest number among its neighbours until each patch has one number.
    while True:
        spread = numbers.copy()
        for target, origin in _NEIGHBOURS:
            np.maximum(spread[target], numbers[origin], out=spread[target])
        spread *= mask
        if np.array_equal(spread, numbers):
            break
        numbers = spread
    patches = [numbers == number for number in np.unique(numbers[mask])]
    return [patch for patch in patches if patch.sum() >= _SMALLEST_PATCH]


def _nearest_shape(cover_of_thing: _Numbers, radius: float) -> str | None:
    """Returns the shape that agrees best with a thing's cover, wherever it is laid."""
    templates = _templates()
    near = np.abs(templates.radii - radius) <= _RADIUS_TOLERANCE
    if not near.any():
        return None
    wanted = np.fft.rfft2(cover_of_thing) * _blur()
    # Multiplied spectra give the overlap for all places of a template at once.
    overlap = np.fft.irfft2(templates.spectra[near] * wanted, s=cover_of_thing.shape)
    energy = np.square(np.fft.irfft2(wanted, s=cover_of_thing.shape)).sum()
    agreement = 2 * overlap.max(axis=(1, 2)) / (energy + templates.energies[near])
    best = int(agreement.argmax())
    return str(templates.shapes[near][best]) if agreement[best] >= _LEAST_AGREEMENT else None


@dataclass(frozen=True)
class _Templates:
    """Every shape at every size, blurred, as spectra.

    Attributes:
        shapes: The name of each template's shape.
        radii: The radius of each template.
        spectra: The conjugate Fourier transform of each template.
        energies: The sum of each template's squares.
    """

    shapes: npt.NDArray[np.str_]
    radii: npt.NDArray[np.float64]
    spectra: npt.NDArray[np.complexfloating]
    energies: npt.NDArray[np.float64]


@cache
def _templates() -> _Templates:
    kinds = [(shape, radius) for shape in SHAPES for radius in _TEMPLATE_RADII]
    middle = PICTURE_SIZE / 2
    covers = np.stack([cover(shape, radius, middle, middle) for shape, radius in kinds])
    spectra = np.fft.rfft2(covers) * _blur()
    blurred = np.fft.irfft2(spectra, s=covers.shape[1:])
    return _Templates(
        shapes=np.array([shape for shape, _ in kinds]),
        radii=np.array([radius for _, radius in kinds]),
        spectra=spectra.conj(),
        energies=np.square(blurred).sum(axis=(1, 2)),
    )


@cache
def _blur() -> _Numbers:
    """Returns the spectrum of a slight blur, which forgives soft edges and half pixels."""
    kernel = np.zeros((PICTURE_SIZE, PICTURE_SIZE), dtype=np.float32)
    for row, column in product((-1, 0, 1), repeat=2):
        kernel[row, column] = 2.0 ** -(2 + abs(row) + abs(column))
    return np.asarray(np.fft.rfft2(kernel).real, dtype=np.float32)


def _best_order(patches: tuple[Patch, ...], things: tuple[Thing, ...]) -> tuple[Patch, ...]:
    """Orders patches so that they agree with as many facts about the things as can be."""

    def facts_right(order: tuple[Patch, ...]) -> int:
        return sum(
            (patch.colour == thing.colour) + (patch.shape == thing.shape)
            for patch, thing in zip(order, things, strict=True)
        )

    return max(permutations(patches), key=facts_right)


def _compare(found: Sequence[str | None], wanted: Sequence[str]) -> tuple[bool, ...]:
    if len(found) != len(wanted):
        return (False,) * len(wanted)
    return tuple(one == other for one, other in zip(found, wanted, strict=True))


def _arrangement(
    found: tuple[Patch, ...], scene: Scene
) -> tuple[bool | None, bool | None, bool | None]:
    """Returns whether size, position and relation are right, for each that the scene names."""
    if isinstance(scene, TwoObjects):
        return None, None, bool(found) and _relation(*found) == scene.relation
    size = any(_size(patch) == scene.size for patch in found) if scene.size else None
    position = any(_position(patch) == scene.position for patch in found)
    return size, position if scene.position else None, None


def _size(patch: Patch) -> str:
    small, medium, large = SIZES
    if patch.radius < _MEDIUM_RADIUS:
        return small
    return medium if patch.radius < _LARGE_RADIUS else large


def _position(patch: Patch) -> str:
    middle = (PICTURE_SIZE - 1) / 2
    vertical = _side(patch.y - middle, "top", "bottom")
    horizontal = _side(patch.x - middle, "left", "right")
    return f"{vertical} {horizontal}".strip() or "center"


def _side(offset: float, before: str, after: str) -> str:
    if abs(offset) < _CENTRAL_OFFSET:
        return ""
    return before if offset < 0 else after


def _relation(first: Patch, second: Patch) -> str:
    """Says where the first patch is, as seen from the second."""
    right, down = first.x - second.x, first.y - second.y
    above, below, left_of, right_of = RELATIONS
    if abs(down) >= abs(right):
        return above if down < 0 else below
    return left_of if right < 0 else right_of
