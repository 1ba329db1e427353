"""What the engine's tests have drawn, most of all."""

from __future__ import annotations

from cdk_stable_diffusion.runtime_image.engine.diffusion import Order

ORDER = Order(
    prompt="a red circle",
    negative_prompt="",
    seeds=(1,),
    width=None,
    height=None,
    steps=2,
    guidance_scale=3.0,
    scheduler=None,
)
