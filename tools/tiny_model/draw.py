"""Draws scenes: the ground truth that the model learns and that the classifier is checked on."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tools.tiny_model.grammar import OneObject, Scene, Thing, TwoObjects

PICTURE_SIZE: Final = 64
PALETTE: Final[dict[str, tuple[int, int, int]]] = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (250, 220, 50),
    "purple": (140, 50, 170),
    "orange": (250, 140, 20),
    "white": (250, 250, 250),
    "black": (15, 15, 15),
}
RADIUS: Final = {"small": 9.5, "medium": 14.5, "large": 20.0}
_PAIR_RADIUS: Final = 11.0
# From the picture's middle to the middle of each of two things.
_PAIR_DISTANCE: Final = 15.0
# Things keep this far from the picture's edge.
_EDGE: Final = 2.0
# Each pixel's cover is the mean of this many samples in either direction.
_OVERSAMPLING: Final = 8

FloatImage: TypeAlias = npt.NDArray[np.float32]
_Points: TypeAlias = list[tuple[float, float]]


@dataclass(frozen=True)
class Placement:
    """Where a thing is drawn.

    Attributes:
        thing: What is drawn.
        x: Its centre, in pixels from the left edge.
        y: Its centre, in pixels from the top edge.
        radius: Half the side of the square that it fills.
    """

    thing: Thing
    x: float
    y: float
    radius: float


def draw(scene: Scene, source: random.Random) -> Image.Image:
    """Draws a scene.

    Args:
        scene: What to draw.
        source: Decides whatever the scene leaves open, and a jitter of a pixel or two.

    Returns:
        An RGB picture of ``PICTURE_SIZE`` pixels either way.
    """
    canvas = np.empty((PICTURE_SIZE, PICTURE_SIZE, 3), dtype=np.float32)
    canvas[:] = PALETTE[scene.background]
    for placement in place(scene, source):
        _paint(canvas, placement)
    return Image.fromarray(np.rint(canvas).astype(np.uint8))


def place(scene: Scene, source: random.Random) -> tuple[Placement, ...]:
    """Chooses where each thing of a scene goes."""
    if isinstance(scene, TwoObjects):
        return _place_two(scene, source)
    return (_place_one(scene, source),)


def cover(shape: str, radius: float, x: float, y: float, size: int = PICTURE_SIZE) -> FloatImage:
    """Returns how much of each pixel a shape covers, from 0 to 1.

    Args:
        shape: One of the grammar's shapes.
        radius: Half the side of the square that the shape fills, in pixels.
        x: The shape's centre, in pixels from the left edge.
        y: The shape's centre, in pixels from the top edge.
        size: The side of the result, in pixels.
    """
    scale = _OVERSAMPLING
    fine = Image.new("L", (size * scale, size * scale), 0)
    pen = ImageDraw.Draw(fine)
    centre_x, centre_y, reach = x * scale, y * scale, radius * scale
    for points, ink in _outlines(shape):
        pen.polygon([(centre_x + reach * px, centre_y + reach * py) for px, py in points], ink)
    samples = np.asarray(fine, dtype=np.float32).reshape(size, scale, size, scale)
    return np.asarray(samples.mean(axis=(1, 3)) / 255.0, dtype=np.float32)


def _paint(canvas: FloatImage, placement: Placement) -> None:
    """Paints one thing, on no more of the canvas than it can reach."""
    reach = math.ceil(placement.radius) + 2
    left, top = math.floor(placement.x) - reach, math.floor(placement.y) - reach
    left, top = max(left, 0), max(top, 0)
    patch = cover(
        placement.thing.shape,
        placement.radius,
        placement.x - left,
        placement.y - top,
        size=2 * reach + 2,
    )
    target = canvas[top : top + len(patch), left : left + len(patch)]
    share = patch[: target.shape[0], : target.shape[1], None]
    ink = np.asarray(PALETTE[placement.thing.colour], dtype=np.float32)
    target += share * (ink - target)


def _place_one(scene: OneObject, source: random.Random) -> Placement:
    # An open size is never small, and an open place is near the middle: such pictures look best.
    size = scene.size or source.choice(("medium", "large"))
    radius = RADIUS[size] + source.uniform(-1.0, 1.0)
    room = PICTURE_SIZE / 2 - radius - _EDGE
    position = scene.position or "center"
    jitter = 1.5 if scene.position else 4.0
    horizontal = _direction(position, "left", "right")
    vertical = _direction(position, "top", "bottom")
    return Placement(
        thing=scene.thing,
        x=PICTURE_SIZE / 2 + _jittered(horizontal * room, jitter, room, source),
        y=PICTURE_SIZE / 2 + _jittered(vertical * room, jitter, room, source),
        radius=radius,
    )


def _place_two(scene: TwoObjects, source: random.Random) -> tuple[Placement, Placement]:
    aside = source.uniform(-3.0, 3.0)
    apart = _PAIR_DISTANCE + source.uniform(-1.0, 1.0)
    # The two are as far from the middle as each other, on opposite sides.
    x, y = {
        "above": (aside, -apart),
        "below": (aside, apart),
        "left of": (-apart, aside),
        "right of": (apart, aside),
    }[scene.relation]
    middle = PICTURE_SIZE / 2
    first_radius = _PAIR_RADIUS + source.uniform(-1.0, 1.0)
    second_radius = _PAIR_RADIUS + source.uniform(-1.0, 1.0)
    return (
        Placement(scene.first, middle + x, middle + y, first_radius),
        Placement(scene.second, middle - x, middle - y, second_radius),
    )


def _direction(position: str, negative: str, positive: str) -> int:
    words = position.split()
    return int(positive in words) - int(negative in words)


def _jittered(offset: float, jitter: float, room: float, source: random.Random) -> float:
    return min(max(offset + source.uniform(-jitter, jitter), -room), room)


@cache
def _outlines(shape: str) -> tuple[tuple[_Points, int], ...]:
    """Returns a shape's outlines in the square from -1 to 1, each with the ink to fill it with."""
    outline = _OUTLINES[shape]()
    if shape == "ring":
        return ((outline, 255), ([(0.55 * x, 0.55 * y) for x, y in outline], 0))
    return ((outline, 255),)


def _circle() -> _Points:
    return [(math.cos(turn), math.sin(turn)) for turn in _turns(72)]


def _square() -> _Points:
    return [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]


def _triangle() -> _Points:
    return [(0.0, -0.95), (1.0, 0.85), (-1.0, 0.85)]


def _diamond() -> _Points:
    return [(0.0, -1.0), (0.8, 0.0), (0.0, 1.0), (-0.8, 0.0)]


def _cross() -> _Points:
    thin = 0.32
    return [
        (-thin, -1.0),
        (thin, -1.0),
        (thin, -thin),
        (1.0, -thin),
        (1.0, thin),
        (thin, thin),
        (thin, 1.0),
        (-thin, 1.0),
        (-thin, thin),
        (-1.0, thin),
        (-1.0, -thin),
        (-thin, -thin),
    ]


def _star() -> _Points:
    reaches = [1.0 if corner % 2 == 0 else 0.42 for corner in range(10)]
    turns = [turn - math.pi / 2 for turn in _turns(10)]
    return _centred(
        [
            (reach * math.cos(turn), reach * math.sin(turn))
            for reach, turn in zip(reaches, turns, strict=True)
        ]
    )


def _heart() -> _Points:
    points = []
    for turn in _turns(72):
        x = math.sin(turn) ** 3
        cosines = (13, -5, -2, -1)
        height = sum(weight * math.cos(times * turn) for times, weight in enumerate(cosines, 1))
        points.append((x, -height / 16))
    return _centred(points)


def _centred(points: _Points) -> _Points:
    """Moves points up or down until as much is above the middle as below it."""
    heights = [y for _, y in points]
    middle = (min(heights) + max(heights)) / 2
    return [(x, y - middle) for x, y in points]


def _turns(count: int) -> list[float]:
    return [2 * math.pi * step / count for step in range(count)]


_OUTLINES: Final[dict[str, Callable[[], _Points]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _circle,
    "heart": _heart,
    "diamond": _diamond,
}
