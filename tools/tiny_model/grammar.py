"""The prompts that the tiny model understands, as data.

A prompt says one of two things::

    a [small|medium|large] COLOUR SHAPE [at the POSITION] on a COLOUR background
    a COLOUR SHAPE above|below|left of|right of a COLOUR SHAPE on a COLOUR background

``parse`` turns such a prompt into a scene, ``describe`` turns a scene into its prompt, and
``random_scene`` draws scenes for training and for measuring.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

COLOURS: Final = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
SIZES: Final = ("small", "medium", "large")
POSITIONS: Final = (
    "center",
    "top",
    "bottom",
    "left",
    "right",
    "top left",
    "top right",
    "bottom left",
    "bottom right",
)
RELATIONS: Final = ("above", "below", "left of", "right of")


@dataclass(frozen=True)
class Thing:
    """A coloured shape.

    Attributes:
        colour: One of ``COLOURS``.
        shape: One of ``SHAPES``.
    """

    colour: str
    shape: str

    def __post_init__(self) -> None:
        """Refuses what the grammar does not know."""
        _require(self.colour, COLOURS, "colour")
        _require(self.shape, SHAPES, "shape")


@dataclass(frozen=True)
class OneObject:
    """A scene with one thing in it.

    Attributes:
        thing: What is drawn.
        background: The colour behind it, which differs from the thing's.
        size: One of ``SIZES``; ``None`` leaves it open.
        position: One of ``POSITIONS``; ``None`` leaves it open.
    """

    thing: Thing
    background: str
    size: str | None = None
    position: str | None = None

    def __post_init__(self) -> None:
        """Refuses what the grammar does not know."""
        _require_background(self.background, (self.thing,))
        if self.size is not None:
            _require(self.size, SIZES, "size")
        if self.position is not None:
            _require(self.position, POSITIONS, "position")

    @property
    def things(self) -> tuple[Thing, ...]:
        """Everything drawn in the scene."""
        return (self.thing,)


@dataclass(frozen=True)
class TwoObjects:
    """A scene with two different things, one placed relative to the other.

    Attributes:
        first: The thing that is placed.
        relation: One of ``RELATIONS``: where ``first`` is, as seen from ``second``.
        second: The thing it is placed relative to.
        background: The colour behind both, which differs from theirs.
    """

    first: Thing
    relation: str
    second: Thing
    background: str

    def __post_init__(self) -> None:
        """Refuses what the grammar does not know."""
        _require(self.relation, RELATIONS, "relation")
        _require_background(self.background, (self.first, self.second))
        if self.first == self.second:
            raise ValueError("the two things of a scene must differ")

    @property
    def things(self) -> tuple[Thing, ...]:
        """Everything drawn in the scene."""
        return (self.first, self.second)


Scene: TypeAlias = OneObject | TwoObjects


def describe(scene: Scene) -> str:
    """Returns the prompt that asks for ``scene``."""
    ending = f"on {_with_article(scene.background)} background"
    if isinstance(scene, TwoObjects):
        return f"{_thing(scene.first)} {scene.relation} {_thing(scene.second)} {ending}"
    place = f" at the {scene.position}" if scene.position else ""
    return f"{_thing(scene.thing, scene.size)}{place} {ending}"


def parse(prompt: str) -> Scene:
    """Reads a prompt.

    Case, surplus white space and the choice between "a" and "an" do not matter.

    Args:
        prompt: A sentence of the grammar.

    Returns:
        The scene that it describes.

    Raises:
        ValueError: The prompt is not a sentence of the grammar, or contradicts itself.
    """
    words = " ".join(prompt.lower().split())
    if match := _ONE_OBJECT.fullmatch(words):
        thing = Thing(match["colour"], match["shape"])
        return OneObject(thing, match["background"], match["size"], match["position"])
    if match := _TWO_OBJECTS.fullmatch(words):
        first = Thing(match["colour"], match["shape"])
        second = Thing(match["second_colour"], match["second_shape"])
        return TwoObjects(first, match["relation"], second, match["background"])
    raise ValueError(f"not a prompt of the tiny model's grammar: {prompt!r}")


def random_one_object(source: random.Random) -> OneObject:
    """Returns a scene of one thing; size and position are each left open half of the time."""
    thing, background = _random_thing(source), source.choice(COLOURS)
    while thing.colour == background:
        background = source.choice(COLOURS)
    return OneObject(
        thing=thing,
        background=background,
        size=source.choice(SIZES) if source.random() < 0.5 else None,
        position=source.choice(POSITIONS) if source.random() < 0.5 else None,
    )


def random_two_objects(source: random.Random) -> TwoObjects:
    """Returns a scene of two things that differ from each other and from the background."""
    first, second = _random_thing(source), _random_thing(source)
    while first == second:
        second = _random_thing(source)
    background = source.choice(COLOURS)
    while background in (first.colour, second.colour):
        background = source.choice(COLOURS)
    return TwoObjects(first, source.choice(RELATIONS), second, background)


def random_scene(source: random.Random, two_objects_share: float) -> Scene:
    """Returns a scene, of two things with the probability ``two_objects_share``."""
    if source.random() < two_objects_share:
        return random_two_objects(source)
    return random_one_object(source)


def vocabulary() -> tuple[str, ...]:
    """Returns every word of the grammar, each once, in a fixed order."""
    phrases = ("a", "an", "at the", "on", "background", *COLOURS, *SHAPES, *SIZES)
    words = (word for phrase in (*phrases, *POSITIONS, *RELATIONS) for word in phrase.split())
    return tuple(dict.fromkeys(words))


def _random_thing(source: random.Random) -> Thing:
    return Thing(source.choice(COLOURS), source.choice(SHAPES))


def _thing(thing: Thing, size: str | None = None) -> str:
    return _with_article(f"{size + ' ' if size else ''}{thing.colour} {thing.shape}")


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _require(value: str, allowed: tuple[str, ...], what: str) -> None:
    if value not in allowed:
        raise ValueError(f"unknown {what} {value!r}; known are {', '.join(allowed)}")


def _require_background(background: str, things: tuple[Thing, ...]) -> None:
    _require(background, COLOURS, "background")
    if any(thing.colour == background for thing in things):
        raise ValueError(f"a {background} thing cannot be seen on a {background} background")


def _group(name: str, values: tuple[str, ...]) -> str:
    return f"(?P<{name}>{'|'.join(re.escape(value) for value in values)})"


_COLOUR_SHAPE = f"{_group('colour', COLOURS)} {_group('shape', SHAPES)}"
_SECOND = f"{_group('second_colour', COLOURS)} {_group('second_shape', SHAPES)}"
_ENDING = f"on an? {_group('background', COLOURS)} background"
_ONE_OBJECT = re.compile(
    f"an? (?:{_group('size', SIZES)} )?{_COLOUR_SHAPE}"
    f"(?: at the {_group('position', POSITIONS)})? {_ENDING}"
)
_TWO_OBJECTS = re.compile(
    f"an? {_COLOUR_SHAPE} {_group('relation', RELATIONS)} an? {_SECOND} {_ENDING}"
)
