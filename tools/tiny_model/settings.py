"""How much of everything a training run takes."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    """The size of a training run.

    Attributes:
        autoencoder_steps: Optimiser steps of the autoencoder.
        autoencoder_pictures: Pictures drawn for it.
        denoiser_steps: Optimiser steps of the denoiser and the text encoder.
        denoiser_pictures: Pictures drawn for them.
        distillation_steps: Optimiser steps of the shipped autoencoder.
        distillation_pictures: Pictures drawn for it.
        polish_steps: Further steps of the denoiser and the text encoder, on small things.
        polish_pictures: Pictures drawn for those.
        two_objects_share: The share of the denoiser's and the shipped autoencoder's
            pictures that show two things.
    """

    autoencoder_steps: int = 5500
    autoencoder_pictures: int = 8000
    denoiser_steps: int = 8500
    denoiser_pictures: int = 60_000
    distillation_steps: int = 8000
    distillation_pictures: int = 20_000
    polish_steps: int = 3600
    polish_pictures: int = 40_000
    two_objects_share: float = 0.4

    def scaled(self, share: float) -> Settings:
        """Returns settings with the steps multiplied by ``share``."""
        return replace(
            self,
            autoencoder_steps=max(1, round(self.autoencoder_steps * share)),
            denoiser_steps=max(1, round(self.denoiser_steps * share)),
            distillation_steps=max(1, round(self.distillation_steps * share)),
            polish_steps=max(1, round(self.polish_steps * share)),
        )


QUICK = Settings(
    autoencoder_steps=60,
    autoencoder_pictures=1000,
    denoiser_steps=30,
    denoiser_pictures=1000,
    distillation_steps=30,
    distillation_pictures=500,
    polish_steps=5,
    polish_pictures=500,
)
