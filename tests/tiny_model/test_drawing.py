"""Drawings show what their scenes say, smoothly and repeatably."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tools.tiny_model.draw import PALETTE, PICTURE_SIZE, RADIUS, cover, draw, place
from tools.tiny_model.grammar import (
    COLOURS,
    SHAPES,
    SIZES,
    OneObject,
    Thing,
    TwoObjects,
    random_scene,
)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_middle_has_the_colour_and_the_corner_the_background(colour: str) -> None:
    background = "white" if colour != "white" else "black"
    scene = OneObject(Thing(colour, "square"), background, "large", "center")
    picture = draw(scene, random.Random(1))
    assert picture.size == (PICTURE_SIZE, PICTURE_SIZE)
    assert picture.getpixel((32, 32)) == PALETTE[colour]
    assert picture.getpixel((0, 0)) == PALETTE[background]


def test_a_seed_decides_the_jitter() -> None:
    scene = OneObject(Thing("red", "star"), "blue")
    first, same, other = (draw(scene, random.Random(seed)).tobytes() for seed in (1, 1, 2))
    assert first == same != other


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_symmetric_and_have_soft_edges(shape: str) -> None:
    share = cover(shape, 20.0, 32.0, 32.0)
    assert share.min() == 0.0
    assert share.max() == 1.0
    assert ((share > 0.1) & (share < 0.9)).any()
    assert np.abs(share - share[:, ::-1]).mean() < 0.01


def test_a_ring_is_hollow() -> None:
    assert cover("ring", 20.0, 32.0, 32.0)[32, 32] == 0.0
    assert cover("circle", 20.0, 32.0, 32.0)[32, 32] == 1.0


def test_things_stay_inside_the_picture() -> None:
    source = random.Random(3)
    for _ in range(300):
        for placed in place(random_scene(source, two_objects_share=0.5), source):
            for middle in (placed.x, placed.y):
                assert placed.radius <= middle <= PICTURE_SIZE - placed.radius


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_kept(size: str) -> None:
    (placed,) = place(OneObject(Thing("red", "star"), "blue", size), random.Random(1))
    assert abs(placed.radius - RADIUS[size]) <= 1.0


def test_the_first_thing_is_where_the_relation_says() -> None:
    first, second = Thing("red", "star"), Thing("green", "ring")
    above, other = place(TwoObjects(first, "above", second, "blue"), random.Random(1))
    assert above.y + above.radius < other.y
    right, other = place(TwoObjects(first, "right of", second, "blue"), random.Random(1))
    assert right.x - right.radius > other.x
