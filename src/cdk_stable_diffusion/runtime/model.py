"""Which models a runtime serves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .._validation import Faults, is_token
from ..contract.limits import MAX_MODEL_NAME_CHARACTERS
from ..contract.names import MODEL_NAME_SAYS, is_model_name
from ..contract.routing import DYNAMIC, STATIC


@dataclass(frozen=True, slots=True)
class Model:
    """Which models a runtime serves; made by `Model.static` or `Model.dynamic`.

    Attributes:
        runtime_class: "static" or "dynamic".
        names: The models of a static runtime; none for a dynamic one.
    """

    runtime_class: str
    names: tuple[str, ...]

    @classmethod
    def static(cls, *names: str) -> Model:
        """Serve these models only, loaded before the first request.

        Args:
            *names: Names of the models, as in the model bucket or, with
                `RuntimeImage.from_package(models=...)`, in the image. Requests for them go to no
                other runtime.

        Returns:
            The choice.

        Raises:
            ValueError: If there is no name, a name is given twice, or is no model's name.
        """
        faults = Faults()
        faults.check(bool(names), "no model is named: at least one")
        texts = [name for name in names if faults.check_type("model", name, str, _one_by_one(name))]
        known = [name for name in texts if not is_token(name)]
        faults.check(known == texts, "model is a token: it must be known at synthesis")
        for name, times in Counter(known).items():
            faults.check(times == 1, f"model {name!r} is named {times} times: once")
        for name in known:
            faults.check(
                is_model_name(name),
                f"model {name!r}: 1 to {MAX_MODEL_NAME_CHARACTERS} {MODEL_NAME_SAYS}",
            )
        faults.raise_if_any("Model.static")
        return cls(STATIC, names)

    @classmethod
    def dynamic(cls) -> Model:
        """Serve every model that no static runtime serves, loaded when a request names it.

        Returns:
            The choice.
        """
        return cls(DYNAMIC, ())


def _one_by_one(name: object) -> str:
    """Return how to name models, shown with those that were given as a list."""
    if isinstance(name, (list, tuple)) and name and all(isinstance(each, str) for each in name):
        return f"names one by one, Model.static({', '.join(map(repr, name))})"
    return "a name, such as Model.static('sdxl')"
