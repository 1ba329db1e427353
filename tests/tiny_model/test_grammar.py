"""Prompts and scenes are two forms of the same thing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.tiny_model.grammar import (
    COLOURS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    OneObject,
    Scene,
    Thing,
    TwoObjects,
    describe,
    parse,
    random_one_object,
    random_scene,
    random_two_objects,
    vocabulary,
)

colours = st.sampled_from(COLOURS)
things = st.builds(Thing, colours, st.sampled_from(SHAPES))


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    first = draw(things)
    if draw(st.booleans()):
        background = draw(colours.filter(lambda colour: colour != first.colour))
        size = draw(st.none() | st.sampled_from(SIZES))
        position = draw(st.none() | st.sampled_from(POSITIONS))
        return OneObject(first, background, size, position)
    second = draw(things.filter(lambda thing: thing != first))
    taken = (first.colour, second.colour)
    background = draw(colours.filter(lambda colour: colour not in taken))
    return TwoObjects(first, draw(st.sampled_from(RELATIONS)), second, background)


@given(scenes())
def test_a_described_scene_is_parsed_back(scene: Scene) -> None:
    assert parse(describe(scene)) == scene


@given(scenes())
def test_case_white_space_and_articles_do_not_matter(scene: Scene) -> None:
    prompt = describe(scene)
    assert parse(f"  {prompt.upper().replace(' ', '   ')} ") == scene
    assert parse(prompt.replace("an ", "a ")) == scene


@pytest.mark.parametrize(
    ("prompt", "scene"),
    [
        ("a red circle on a blue background", OneObject(Thing("red", "circle"), "blue")),
        (
            "a small orange star at the top left on a white background",
            OneObject(Thing("orange", "star"), "white", "small", "top left"),
        ),
        (
            "an orange ring left of a black heart on a green background",
            TwoObjects(Thing("orange", "ring"), "left of", Thing("black", "heart"), "green"),
        ),
    ],
)
def test_prompts_mean_what_they_say(prompt: str, scene: Scene) -> None:
    assert parse(prompt) == scene
    assert describe(scene) == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "an astronaut riding a horse",
        "a red circle",
        "a red circle on a red background",
        "a pink circle on a blue background",
        "a huge red circle on a blue background",
        "a red circle at the moon on a blue background",
        "a red circle above a red circle on a blue background",
        "a red circle above a blue star on a blue background",
        "a red circle on a blue background, please",
    ],
)
def test_other_prompts_are_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(prompt)


def test_random_scenes_repeat_for_a_seed_and_keep_their_share() -> None:
    def sample() -> list[Scene]:
        source = random.Random(7)
        return [random_scene(source, two_objects_share=0.25) for _ in range(400)]

    assert sample() == sample()
    assert 70 <= sum(isinstance(scene, TwoObjects) for scene in sample()) <= 130


def test_random_scenes_use_every_word() -> None:
    source = random.Random(7)
    sampled = [random_one_object(source) for _ in range(400)]
    prompts = [describe(scene) for scene in sampled]
    prompts += [describe(random_two_objects(source)) for _ in range(400)]
    assert {word for prompt in prompts for word in prompt.split()} == set(vocabulary())
