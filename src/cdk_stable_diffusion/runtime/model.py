"""Which models a runtime serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from .._validation import A_WHOLE_NUMBER, Faults, is_token
from ..contract.lanes import MOST_LANES, default_lanes
from ..contract.limits import MAX_MODEL_NAME_CHARACTERS
from ..contract.names import MODEL_NAME_SAYS, is_model_name
from ..contract.routing import DYNAMIC, STATIC
from .model_cache import A_MODEL_CACHE, ModelCache


@dataclass(frozen=True, slots=True)
class Model:
    """Which models a runtime serves; made by `Model.static` or `Model.dynamic`.

    Attributes:
        runtime_class: "static" or "dynamic".
        names: The models of a static runtime; none for a dynamic one.
        lanes: How many lanes a dynamic runtime has; None for as many as its replicas are worth.
        spread: Models of a dynamic runtime that have several lanes, and how many.
        cache: What the pods of a dynamic runtime keep of models.
    """

    runtime_class: str
    names: tuple[str, ...]
    lanes: int | None = None
    spread: Mapping[str, int] = field(default_factory=dict, hash=False)
    cache: ModelCache = field(default_factory=ModelCache)

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
    def dynamic(
        cls,
        *,
        lanes: int | None = None,
        spread: Mapping[str, int] | None = None,
        cache: ModelCache | None = None,
    ) -> Model:
        """Serve every model that no static runtime serves, loaded when a request names it.

        The runtime has several queues, its lanes, so that models are seldom loaded: all tasks of a
        model are in the same lane, and each pod serves some lanes before it helps with others. With
        several lanes there is an overflow queue, too, by which a pod that loads a model passes on
        to idle ones what comes meanwhile.

        Args:
            lanes: How many, 1 to 150; 1 is a single queue, of which each pod takes whatever comes
                next. Before you lower it, let the queues run dry: what waits in a lane that goes
                is lost. Lanes cost: each has a queue, which KEDA asks ten times a minute. Default:
                four for each of `Scaling.max_replicas`, but at most 16, or one for each replica if
                that is more; 1 for a single replica.
            spread: Hot models that have several lanes, and so several pods that serve them first,
                by name, such as {"sdxl": 4}. A model with more than one pod's worth of tasks needs
                none: other pods help. Default: each model has one.
            cache: What each pod keeps of models, besides on its GPU and on the disk. Default:
                `ModelCache()`: nothing.

        Returns:
            The choice.

        Raises:
            ValueError: Naming everything that is wrong.
        """
        faults = Faults()
        knows_lanes = faults.check_type("lanes", lanes, int, A_WHOLE_NUMBER, optional=True)
        most: int | None = MOST_LANES
        if knows_lanes:
            assert lanes is not None
            are_possible = 1 <= lanes <= MOST_LANES
            faults.check(are_possible, f"lanes is {lanes}: 1 to {MOST_LANES}")
            most = lanes if are_possible else None
        hint = "lanes by model, such as {'sdxl': 4}"
        if faults.check_type("spread", spread, Mapping, hint, optional=True):
            assert spread is not None
            for name, count in spread.items():
                _check_spread(faults, name, count, most)
        faults.check_type("cache", cache, ModelCache, A_MODEL_CACHE, optional=True)
        faults.raise_if_any("Model.dynamic")
        return cls(DYNAMIC, (), lanes, dict(spread or {}), cache or ModelCache())

    def lanes_for(self, max_replicas: int) -> int:
        """Return how many lanes a runtime has.

        Args:
            max_replicas: The most pods that it has.
        """
        if self.runtime_class == STATIC:
            return 1
        return default_lanes(max_replicas) if self.lanes is None else self.lanes


def _check_spread(faults: Faults, name: object, count: object, most: int | None) -> None:
    """Check how many lanes a model has.

    Args:
        faults: Where to record what is wrong.
        name: The model.
        count: How many.
        most: The most that it can have; None where that is wrong itself.
    """
    says = f"a name of 1 to {MAX_MODEL_NAME_CHARACTERS} {MODEL_NAME_SAYS}"
    if faults.check_type("spread's model", name, str, says):
        assert isinstance(name, str)
        if is_token(name):
            faults.check(False, "spread's model is a token: it must be known at synthesis")
            return
        faults.check(is_model_name(name), f"spread's model {name!r}: {says}")
    if faults.check_type(f"spread of {name!r}", count, int, A_WHOLE_NUMBER):
        assert isinstance(count, int)
        faults.check(
            most is None or 1 <= count <= most, f"spread of {name!r} is {count}: 1 to {most} lanes"
        )


def _one_by_one(name: object) -> str:
    """Return how to name models, shown with those that were given as a list."""
    if isinstance(name, (list, tuple)) and name and all(isinstance(each, str) for each in name):
        return f"names one by one, Model.static({', '.join(map(repr, name))})"
    return "a name, such as Model.static('sdxl')"
