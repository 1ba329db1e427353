"""Which models a runtime serves."""

from __future__ import annotations

from dataclasses import dataclass

from .._validation import Faults
from ..contract.limits import MAX_MODEL_NAME_CHARACTERS
from ..contract.names import MODEL_NAME_SAYS, is_model_name

STATIC = "static"
DYNAMIC = "dynamic"


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
            *names: Names of the models, as in the model bucket. Requests for them go to no other
                runtime.

        Returns:
            The choice.

        Raises:
            ValueError: If there is no name, a name is given twice, or is no model's name.
        """
        faults = Faults()
        faults.check(bool(names), "no model is named: at least one")
        for name in sorted({name for name in names if names.count(name) > 1}):
            faults.check(False, f"model {name!r} is named {names.count(name)} times: once")
        for name in names:
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
