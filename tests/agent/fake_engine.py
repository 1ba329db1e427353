"""An engine without a model: draws plain pictures, and fails when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from cdk_stable_diffusion.contract import Parameters
from cdk_stable_diffusion.contract.tiers import DISK, GPU, MEMORY
from cdk_stable_diffusion.runtime_image.agent.engine import (
    Drawing,
    EngineCancelled,
    EngineHealth,
    Generation,
    ModelDirectory,
    OnStep,
    Raster,
)

Action = Callable[[Generation], None]


class FakeEngine:
    """An `Engine` in this process."""

    def __init__(self, action: Action | None = None) -> None:
        """Prepare.

        Args:
            action: Called for each generation but the warm-up; may raise.
        """
        self.action = action
        self.loads: list[str] = []
        self.warmed: list[str] = []
        self.held: dict[str, str] = {}
        self.generations: list[Generation] = []
        self.warm_ups = 0
        self.passes: list[int] = []
        self.prepared: list[list[str]] = []
        self.most_pictures: int | None = None
        self.closed = threading.Event()
        self.on_load: Callable[[ModelDirectory], None] | None = None
        self.on_warm_up: Callable[[], None] | None = None
        self._model: str | None = None

    def start(self) -> None:
        """Do nothing."""

    def wait_until_ready(self, timeout: float) -> bool:
        """Be ready."""
        return True

    def load(self, model: ModelDirectory, *, timeout: float) -> str:
        """Take note."""
        tier = self.held.get(model.digest, DISK)
        if self.on_load is not None:
            self.on_load(model)
        self.loads.append(model.name)
        self._model = model.digest
        self.held[model.digest] = GPU
        return tier

    def warm(self, model: ModelDirectory) -> None:
        """Take note, and hold it."""
        self.warmed.append(model.name)
        self.held.setdefault(model.digest, MEMORY)

    def generate(
        self, generation: Generation, *, timeout: float, on_step: OnStep | None = None
    ) -> Drawing:
        """Draw one colour a seed."""
        self.passes.append(1)
        return self._draw(generation)

    def generate_together(
        self,
        generations: Sequence[Generation],
        *,
        timeout: float,
        on_step: OnStep | None = None,
    ) -> tuple[Drawing, ...]:
        """Draw each as if it were alone."""
        self.passes.append(len(generations))
        return tuple(map(self._draw, generations))

    def _draw(self, generation: Generation) -> Drawing:
        if generation.prompt == "warm-up":
            self.warm_ups += 1
            if self.on_warm_up is not None:
                self.on_warm_up()
        else:
            self.generations.append(generation)
            if self.action is not None:
                self.action(generation)
        if self.closed.is_set():
            raise EngineCancelled
        width, height = generation.width or 64, generation.height or 64
        return Drawing(
            pictures=tuple(
                Raster(
                    width=width,
                    height=height,
                    seed=seed,
                    pixels=bytes((seed % 256, seed // 256 % 256, 7)) * (width * height),
                )
                for seed in generation.seeds
            ),
            parameters=Parameters(
                width=width,
                height=height,
                steps=generation.steps or 25,
                guidance_scale=(
                    7.5 if generation.guidance_scale is None else generation.guidance_scale
                ),
                seed=generation.seeds[0],
                scheduler=generation.scheduler,
            ),
            software={"fake": "1"},
            most_pictures=self.most_pictures,
        )

    def prepare(self, generations: Sequence[Generation]) -> None:
        """Take note."""
        self.prepared.append([generation.prompt for generation in generations])

    def cancel(self) -> None:
        """Do nothing."""

    def health(self) -> EngineHealth:
        """Be well."""
        return EngineHealth(running=True, ready=True, model=self._model, held=dict(self.held))

    def close(self) -> None:
        """End."""
        self.closed.set()


class KeepsOne(FakeEngine):
    """An engine that keeps nothing but the model it draws with."""

    def load(self, model: ModelDirectory, *, timeout: float) -> str:
        """Forget all others."""
        self.held.clear()
        return super().load(model, timeout=timeout)

    def warm(self, model: ModelDirectory) -> None:
        """Do nothing."""
