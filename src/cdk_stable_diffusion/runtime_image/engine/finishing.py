"""What is done to each picture between drawing and storing: a safety check, and a watermark."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from PIL import Image

from ...contract.environment import variable_name
from ...contract.finishing import MODELS_OWN, TEXT_MARK, is_safety_checker, is_watermark
from .failure import EngineFailure
from .marking import write_on

Check = Callable[[Sequence[Image.Image]], Sequence[bool]]
"""Tells which pictures are unsafe."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finishing:
    """What a runtime wants done to its pictures.

    Attributes:
        safety_checker: "model", or a function as module:function; empty for none.
        watermark: "text=" and a text, or a function as module:function; empty for none.
        check: The function that is the safety checker.
        mark: What puts the watermark on a picture.
    """

    safety_checker: str = ""
    watermark: str = ""
    check: Callable[[Image.Image], bool] | None = None
    mark: Callable[[Image.Image], Image.Image] | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Finishing:
        """Read the settings, and import the functions that they name.

        Args:
            environment: The variables, such as ``os.environ``.

        Raises:
            ValueError: If they are wrong.
            ImportError: If there is no such module: pictures must not go unchecked for that.
            AttributeError: If it has no such function.
        """
        checker = environment.get(variable_name("safety_checker"), "")
        watermark = environment.get(variable_name("watermark"), "")
        if checker and not is_safety_checker(checker):
            raise ValueError(f"no safety checker: {checker[:64]!r}")
        if watermark and not is_watermark(watermark):
            raise ValueError(f"no watermark: {watermark[:64]!r}")
        mark: Any = None
        if watermark.startswith(TEXT_MARK):
            text = watermark.removeprefix(TEXT_MARK)

            def mark(picture: Image.Image) -> Image.Image:
                return write_on(picture, text)

        elif watermark:
            mark = _imported(watermark)
        return cls(
            safety_checker=checker,
            watermark=watermark,
            check=_imported(checker) if checker and checker != MODELS_OWN else None,
            mark=mark,
        )

    @property
    def needs_models_checker(self) -> bool:
        """Whether the model's own safety checker is wanted."""
        return self.safety_checker == MODELS_OWN

    def finish(
        self, pictures: Sequence[Image.Image], models_checker: Check | None
    ) -> list[Image.Image]:
        """Check pictures and mark them.

        Args:
            pictures: The pictures.
            models_checker: The model's own safety checker, where it is wanted.

        Returns:
            The pictures as they are to be stored.

        Raises:
            EngineFailure: If one is unsafe; or if a function fails, since a picture that could not
                be checked or marked must not be stored.
        """
        unsafe: Sequence[bool] = ()
        if self.needs_models_checker:
            if models_checker is None:
                raise EngineFailure("model-invalid", NO_CHECKER)
            unsafe = models_checker(pictures)
        elif self.check is not None:
            unsafe = [_flag(self.check, self.safety_checker, picture) for picture in pictures]
        if any(unsafe):
            places = ", ".join(str(place) for place, flag in enumerate(unsafe, 1) if flag)
            raise EngineFailure(
                "unsafe-content",
                f"picture {places} of {len(pictures)} is unsafe, the safety checker "
                f"({self.safety_checker}) says; none is stored",
            )
        if self.mark is None:
            return list(pictures)
        return [_marked(self.mark, self.watermark, picture) for picture in pictures]

    def said(self) -> dict[str, str]:
        """Return what the result says of it."""
        values = {"safety_checker": self.safety_checker, "watermark": self.watermark}
        return {name: value for name, value in values.items() if value}


NO_CHECKER = (
    "this runtime checks pictures with the model's own safety_checker, and the model has none: "
    "publish it as a diffusers directory with one"
)


def _imported(hook: str) -> Any:
    module, _, name = hook.partition(":")
    return getattr(importlib.import_module(module), name)


def _flag(check: Callable[[Image.Image], bool], name: str, picture: Image.Image) -> bool:
    flag = _called(check, name, picture)
    # None is what a function returns that forgets to; it must not pass for "safe".
    if not isinstance(flag, (bool, numpy.bool_)):
        raise EngineFailure(
            "generation-failed", f"{name} must return True or False, not {type(flag).__name__}"
        )
    return bool(flag)


def _marked(
    mark: Callable[[Image.Image], Image.Image], name: str, picture: Image.Image
) -> Image.Image:
    marked = _called(mark, name, picture)
    if not isinstance(marked, Image.Image) or marked.size != picture.size:
        raise EngineFailure(
            "generation-failed", f"{name} must return the picture, in the size that it had"
        )
    return marked.convert("RGB")


def _called(function: Callable[[Image.Image], Any], name: str, picture: Image.Image) -> Any:
    try:
        # Of its own, so that a function that draws on it changes nothing by accident.
        return function(picture.copy())
    except Exception as error:
        raise EngineFailure(
            "generation-failed", f"{name} failed: {type(error).__name__}: {error}"
        ) from error
