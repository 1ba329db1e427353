"""The classifier is right about every drawing, and refuses every drawing of something else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image, ImageFilter

from tools.tiny_model.classifier import judge, judge_scene, look
from tools.tiny_model.draw import draw
from tools.tiny_model.grammar import (
    COLOURS,
    POSITIONS,
    SHAPES,
    SIZES,
    OneObject,
    Scene,
    Thing,
    TwoObjects,
    describe,
    random_one_object,
    random_two_objects,
)

SCENES = 300
STAR = Thing("red", "star")
RING = Thing("green", "ring")


@pytest.mark.parametrize("make", [random_one_object, random_two_objects])
def test_every_drawing_is_right(make: Callable[[random.Random], Scene]) -> None:
    source = random.Random(11)
    drawn = [make(source) for _ in range(SCENES)]
    wrong = [
        describe(scene)
        for scene in drawn
        if not judge(draw(scene, source), describe(scene)).all_right
    ]
    assert wrong == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_told_from_every_other(shape: str, size: str) -> None:
    picture = draw(OneObject(Thing("yellow", shape), "purple", size), random.Random(1))
    for other in SHAPES:
        verdict = judge(picture, f"a yellow {other} on a purple background")
        assert verdict.shapes == (shape == other,)
        assert verdict.all_right is (shape == other)


def test_every_colour_is_told_from_every_other() -> None:
    for colour in COLOURS:
        background = "white" if colour != "white" else "blue"
        picture = draw(OneObject(Thing(colour, "heart"), background), random.Random(1))
        for other in COLOURS:
            if other != background:
                verdict = judge(picture, f"a {other} heart on a {background} background")
                assert verdict.colours == (colour == other,)


def test_a_wrong_background_is_refused() -> None:
    verdict = judge_scene(draw(OneObject(STAR, "blue"), random.Random(1)), OneObject(STAR, "white"))
    assert not verdict.background
    assert not verdict.things_right
    assert verdict.colours == verdict.shapes == (True,)


@pytest.mark.parametrize("position", POSITIONS)
def test_positions_and_sizes_count_where_the_prompt_names_them(position: str) -> None:
    scene = OneObject(STAR, "blue", "medium", position)
    picture = draw(scene, random.Random(1))
    assert judge_scene(picture, scene).all_right
    elsewhere = "top" if position != "top" else "left"
    verdict = judge_scene(picture, replace(scene, position=elsewhere, size="small"))
    assert (verdict.position, verdict.size) == (False, False)
    assert verdict.things_right
    assert not verdict.all_right
    verdict = judge_scene(picture, OneObject(STAR, "blue"))
    assert (verdict.position, verdict.size) == (None, None)


def test_a_wrong_relation_is_refused() -> None:
    scene = TwoObjects(STAR, "above", RING, "blue")
    picture = draw(scene, random.Random(1))
    assert judge_scene(picture, scene).relation is True
    # The same picture, said the other way round.
    assert judge_scene(picture, TwoObjects(RING, "below", STAR, "blue")).all_right
    for relation in ("below", "left of", "right of"):
        verdict = judge_scene(picture, replace(scene, relation=relation))
        assert verdict.relation is False
        assert verdict.things_right
        assert not verdict.all_right


def test_swapped_colours_are_refused() -> None:
    picture = draw(TwoObjects(STAR, "above", RING, "blue"), random.Random(1))
    swapped = TwoObjects(Thing("green", "star"), "above", Thing("red", "ring"), "blue")
    verdict = judge_scene(picture, swapped)
    assert not verdict.things_right


def test_a_missing_or_a_surplus_thing_is_refused() -> None:
    one, two = OneObject(STAR, "blue"), TwoObjects(STAR, "above", RING, "blue")
    assert judge_scene(draw(one, random.Random(1)), two).colours == (False, False)
    assert judge_scene(draw(one, random.Random(1)), two).relation is False
    assert judge_scene(draw(two, random.Random(1)), one).shapes == (False,)


def test_an_empty_picture_shows_nothing() -> None:
    assert look(Image.new("RGB", (64, 64), "white")) == ("white", ())


def test_noise_has_no_shape() -> None:
    noise = Image.frombytes("RGB", (64, 64), random.Random(1).randbytes(64 * 64 * 3))
    verdict = judge(noise, "a red circle on a blue background")
    assert not verdict.all_right


def test_soft_edges_and_other_sizes_of_picture_are_forgiven() -> None:
    scene = OneObject(STAR, "blue", "medium")
    picture = draw(scene, random.Random(1))
    assert judge_scene(picture.filter(ImageFilter.GaussianBlur(1)), scene).all_right
    assert judge_scene(picture.resize((256, 256)), scene).all_right


def test_a_prompt_that_is_not_of_the_grammar_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="grammar"):
        judge(Image.new("RGB", (64, 64)), "an astronaut riding a horse")
