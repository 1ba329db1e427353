"""What a runtime does to each picture between drawing and storing it."""

from __future__ import annotations

from dataclasses import dataclass

from .._validation import Faults, is_token, shown
from ..contract.finishing import (
    HOOK_SAYS,
    MODELS_OWN,
    TEXT_MARK,
    TEXT_SAYS,
    is_hook,
    is_mark_text,
)
from .engine import Engine
from .image import RuntimeImage


@dataclass(frozen=True, slots=True)
class SafetyChecker:
    """What tells which pictures are unsafe; made by one of its factories.

    Attributes:
        spelling: How the runtime is told.
    """

    spelling: str

    @classmethod
    def of_model(cls) -> SafetyChecker:
        """Ask the ``safety_checker`` that the model's own directory has.

        Models of the kind of SD 1 come with one. A model that has none is refused by the runtime,
        and so is every single-file checkpoint: nothing is drawn unchecked.

        Returns:
            The choice.
        """
        return cls(MODELS_OWN)

    @classmethod
    def hook(cls, function: str) -> SafetyChecker:
        """Ask a function in an image of your own.

        Args:
            function: ``module:function``, as Python would import it in the image. It gets a
                ``PIL.Image.Image`` and returns True for one that is unsafe, or False. If it cannot
                be imported the pod does not get ready; if it fails, the task does.

        Returns:
            The choice.

        Raises:
            ValueError: If that is no function's name.
        """
        return cls(_hook("SafetyChecker.hook", function))


@dataclass(frozen=True, slots=True)
class Watermark:
    """What marks pictures; made by one of its factories.

    Attributes:
        spelling: How the runtime is told.
    """

    spelling: str

    @classmethod
    def text(cls, text: str) -> Watermark:
        """Write a line of text at the lower right, to be seen.

        Args:
            text: The text, at most 100 printable characters of ASCII. It is made as small as it
                must be to fit.

        Returns:
            The choice.

        Raises:
            ValueError: If it cannot be written.
        """
        faults = Faults()
        if faults.check_type("text", text, str, "a string, such as 'made by a machine'"):
            if is_token(text):
                faults.check(False, "text is a token: it must be known at synthesis")
            else:
                faults.check(is_mark_text(text), f"text is {shown(text)}: {TEXT_SAYS}")
        faults.raise_if_any("Watermark.text")
        return cls(TEXT_MARK + text)

    @classmethod
    def hook(cls, function: str) -> Watermark:
        """Ask a function in an image of your own, for a mark that is not seen, say.

        Args:
            function: ``module:function``, as Python would import it in the image. It gets a
                ``PIL.Image.Image`` and returns one of the same size: always the same for the same
                picture, so that a task that runs twice stores the same bytes.

        Returns:
            The choice.

        Raises:
            ValueError: If that is no function's name.
        """
        return cls(_hook("Watermark.hook", function))


@dataclass(frozen=True, kw_only=True, slots=True)
class Finishing:
    """What a runtime does to each picture between drawing and storing it.

    Both are off by default. A safety checker takes time, and memory on the GPU, and is wrong at
    times, in both directions; what is unsafe is for you to say. What a client cannot see in the
    request must not change its picture unless you ask for that.

    The result of a task says what was done, in its ``parameters``. A task of which one picture is
    unsafe fails with the code ``unsafe-content``, and none of its pictures is stored.

    Attributes:
        safety_checker: What tells which pictures are unsafe. Default: nothing.
        watermark: What marks pictures, after the check. Default: nothing.
    """

    safety_checker: SafetyChecker | None = None
    watermark: Watermark | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        hint = "a SafetyChecker, such as SafetyChecker.of_model()"
        faults.check_type("safety_checker", self.safety_checker, SafetyChecker, hint, optional=True)
        hint = "a Watermark, such as Watermark.text('made by a machine')"
        faults.check_type("watermark", self.watermark, Watermark, hint, optional=True)
        faults.raise_if_any("Finishing")

    @property
    def _safety_checker(self) -> str:
        """What the agent is told of the safety checker."""
        return "" if self.safety_checker is None else self.safety_checker.spelling

    @property
    def _watermark(self) -> str:
        """What the agent is told of the watermark."""
        return "" if self.watermark is None else self.watermark.spelling


def check_finishing(
    faults: Faults, finishing: object, *, image: RuntimeImage | None, engine: Engine | None
) -> None:
    """Check what a runtime is to do to its pictures.

    Args:
        faults: Where what is wrong goes.
        finishing: What it was given.
        image: Its image, if that is one.
        engine: Its engine, if that is one.
    """
    hint = "a Finishing, such as Finishing(safety_checker=SafetyChecker.of_model())"
    if not faults.check_type("finishing", finishing, Finishing, hint):
        return
    assert isinstance(finishing, Finishing)
    if engine is not None:
        faults.check(
            finishing == Finishing() or engine.image is None,
            f"finishing is what the package's own engine does: {engine.name} in its own container "
            "would not; check and mark there",
        )
    is_ours = image is not None and image.uri is None and image.own_build is None
    spellings = {"safety_checker": finishing._safety_checker, "watermark": finishing._watermark}
    for name, spelling in spellings.items():
        faults.check(
            not (is_ours and is_hook(spelling)),
            f"finishing.{name} is the function {spelling}: the package's own image has none of "
            "yours; give an image of your own, such as RuntimeImage.from_directory('image')",
        )


def _hook(where: str, function: object) -> str:
    faults = Faults()
    hint = "a string, such as 'checks.pictures:is_unsafe'"
    text = ""
    if faults.check_type("function", function, str, hint):
        text = str(function)
        known = not is_token(text)
        faults.check(known, "function is a token: it must be known at synthesis")
        faults.check(not known or is_hook(text), f"function is {shown(text)}: {HOOK_SAYS}")
    faults.raise_if_any(where)
    return text
