"""Measures how many prompts a model follows, and how fast it is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from tools.tiny_model.classifier import Verdict, judge_scene
from tools.tiny_model.draw import draw
from tools.tiny_model.grammar import Scene, describe, random_one_object, random_two_objects
from tools.tiny_model.pipeline import SHIPPED, Defaults, generate, load, load_defaults

ONE_OBJECT_PROMPTS: Final = 200
TWO_OBJECTS_PROMPTS: Final = 100
ONE_OBJECT_BAR: Final = 0.95
TWO_OBJECTS_BAR: Final = 0.80
_DRAWN_SCENES: Final = 1000
# Training draws its scenes from other seeds.
_ONE_OBJECT_SEED: Final = 1001
_TWO_OBJECTS_SEED: Final = 1002
_DRAWN_SEED: Final = 1003
_BATCH: Final = 20


@dataclass(frozen=True)
class Share:
    """How many of some pictures are right in some respect.

    Attributes:
        name: What is counted.
        right: How many are right.
        total: How many were asked for.
    """

    name: str
    right: int
    total: int

    @property
    def value(self) -> float:
        """The share, from 0 to 1."""
        return self.right / self.total if self.total else 1.0

    def __str__(self) -> str:
        """Returns a line of a table."""
        return f"| {self.name} | {self.right} / {self.total} | {self.value:.1%} |"


def evaluate(folder: Path = SHIPPED) -> bool:
    """Prints a table of the model's accuracy and speed.

    Args:
        folder: The pipeline folder to measure.

    Returns:
        Whether the model is as good as it has to be.
    """
    pipeline, defaults = load(folder), load_defaults(folder)
    classifier = _classifier_share()
    one = one_object_shares(_verdicts(pipeline, defaults, one_object_scenes()))
    two = two_objects_shares(_verdicts(pipeline, defaults, two_objects_scenes()))
    print("\n| What | Right / prompts | Share |\n|---|---|---|")
    print(*(classifier, *one, *two), sep="\n")
    print("\n| Batch | Seconds | Pictures a second |\n|---|---|---|")
    for size in (1, 8):
        seconds = _seconds(pipeline, defaults, size)
        print(f"| {size} | {seconds:.3f} | {size / seconds:.1f} |")
    met = (
        classifier.value == 1.0
        and one[0].value >= ONE_OBJECT_BAR
        and two[0].value >= TWO_OBJECTS_BAR
    )
    print(f"\nThe bar is {'met' if met else 'MISSED'}.")
    return met


def one_object_scenes() -> list[Scene]:
    """Returns the scenes of one thing that the model is measured on."""
    return _scenes(random_one_object, _ONE_OBJECT_SEED, ONE_OBJECT_PROMPTS)


def two_objects_scenes() -> list[Scene]:
    """Returns the scenes of two things that the model is measured on."""
    return _scenes(random_two_objects, _TWO_OBJECTS_SEED, TWO_OBJECTS_PROMPTS)


def one_object_shares(verdicts: Sequence[Verdict]) -> list[Share]:
    """Counts what is right about pictures of one thing; the share to judge by comes first."""
    return [
        _share("One object: background, colour and shape", [v.things_right for v in verdicts]),
        _share("- its background", [v.background for v in verdicts]),
        _share("- its colour", [all(v.colours) for v in verdicts]),
        _share("- its shape", [all(v.shapes) for v in verdicts]),
        _share("- its size, where the prompt names one", [v.size for v in verdicts]),
        _share("- its position, where the prompt names one", [v.position for v in verdicts]),
        _share("- all that the prompt says", [v.all_right for v in verdicts]),
    ]


def two_objects_shares(verdicts: Sequence[Verdict]) -> list[Share]:
    """Counts what is right about pictures of two things; the share to judge by comes first."""
    return [
        _share("Two objects: all five facts", [v.things_right for v in verdicts]),
        _share("- their background", [v.background for v in verdicts]),
        _share("- both colours", [all(v.colours) for v in verdicts]),
        _share("- both shapes", [all(v.shapes) for v in verdicts]),
        _share("- their relation", [v.relation for v in verdicts]),
        _share("- all five facts and the relation", [v.all_right for v in verdicts]),
    ]


def _share(name: str, answers: Sequence[bool | None]) -> Share:
    asked = [answer for answer in answers if answer is not None]
    return Share(name, sum(asked), len(asked))


def _scenes(make: Callable[[random.Random], Scene], seed: int, count: int) -> list[Scene]:
    source = random.Random(seed)
    return [make(source) for _ in range(count)]


def _verdicts(pipeline: Any, defaults: Defaults, scenes: Sequence[Scene]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for start in tqdm(range(0, len(scenes), _BATCH), desc="generating", unit="batch"):
        batch = scenes[start : start + _BATCH]
        prompts = [describe(scene) for scene in batch]
        images = generate(pipeline, prompts, range(start, start + len(batch)), defaults)
        verdicts += [judge_scene(image, scene) for image, scene in zip(images, batch, strict=True)]
    return verdicts


def _classifier_share() -> Share:
    """Measures the classifier itself, on pictures that are right by construction."""
    source = random.Random(_DRAWN_SEED)
    scenes: list[Scene] = [random_one_object(source) for _ in range(_DRAWN_SCENES)]
    scenes += [random_two_objects(source) for _ in range(_DRAWN_SCENES)]
    verdicts = [
        judge_scene(draw(scene, source), scene) for scene in tqdm(scenes, desc="classifier")
    ]
    return _share("The classifier, on drawn scenes", [v.all_right for v in verdicts])


def _seconds(pipeline: Any, defaults: Defaults, size: int) -> float:
    """Returns the median time that a batch takes."""
    prompts = [describe(scene) for scene in one_object_scenes()[:size]]
    times = []
    for _ in range(7):
        started = time.perf_counter()
        generate(pipeline, prompts, range(size), defaults)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]
