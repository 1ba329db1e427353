"""Which kind of model a single-file checkpoint holds, by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...contract.safetensors_header import Header
from .failure import EngineFailure

SUPPORTED = "SD 1.5, SD 2.1, SDXL, SD 3, SD 3.5 and FLUX.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A kind of checkpoint.

    Attributes:
        name: Its name for people.
        configs: Folder of its components' configurations.
        parts: How the keys of each component with weights begin; any one is enough.
        optional: Components that it can do without.
    """

    name: str
    configs: str
    parts: Mapping[str, tuple[str, ...]]
    optional: frozenset[str] = frozenset()

    def holds(self, header: Header, component: str) -> bool:
        """Tell whether a checkpoint of this kind holds a component's weights."""
        return any(key.startswith(self.parts[component]) for key in header.shapes)


_INNER = "model.diffusion_model."
_VAE = ("first_stage_model.", "vae.")
_CLIP = "text_model.embeddings.position_embedding.weight"
_UNET_PARTS = {"unet": (_INNER,), "vae": _VAE}
_T5 = ("text_encoders.t5xxl.transformer.shared.weight",)
_SD3_PARTS = {
    "transformer": ("joint_blocks.", f"{_INNER}joint_blocks."),
    "vae": _VAE,
    "text_encoder": (f"text_encoders.clip_l.transformer.{_CLIP}",),
    "text_encoder_2": (f"text_encoders.clip_g.transformer.{_CLIP}",),
    "text_encoder_3": _T5,
}
_FLUX_PARTS = {
    "transformer": ("double_blocks.", f"{_INNER}double_blocks."),
    "vae": _VAE,
    "text_encoder": (f"text_encoders.clip_l.transformer.{_CLIP}",),
    "text_encoder_2": _T5,
}

_SD15 = Family(
    name="SD 1.5",
    configs="sd15",
    parts={**_UNET_PARTS, "text_encoder": (f"cond_stage_model.transformer.{_CLIP}",)},
)
_SD21 = Family(
    name="SD 2.1",
    configs="sd21",
    parts={**_UNET_PARTS, "text_encoder": ("cond_stage_model.model.token_embedding.weight",)},
)
_SDXL = Family(
    name="SDXL",
    configs="sdxl",
    parts={
        **_UNET_PARTS,
        "text_encoder": (f"conditioner.embedders.0.transformer.{_CLIP}",),
        "text_encoder_2": ("conditioner.embedders.1.model.positional_embedding",),
    },
)


def _sd3(name: str, configs: str) -> Family:
    # T5 reads long prompts; without it the two others do, as their makers foresaw.
    return Family(
        name=name, configs=configs, parts=_SD3_PARTS, optional=frozenset({"text_encoder_3"})
    )


# By the width of what the UNet is told of the text.
_UNETS = {768: _SD15, 1024: _SD21, 2048: _SDXL}
_UNET_TEXT = f"{_INNER}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
_UNET_FIRST = f"{_INNER}input_blocks.0.0.weight"
_UNET_SAMPLES = 4
_OTHER_UNETS = {7: "an upscaler", 8: "for editing by instruction", 9: "for inpainting alone"}

# By the number of blocks and places.
_SD3S = {
    (24, 192**2): _sd3("SD 3 medium", "sd3"),
    (24, 384**2): _sd3("SD 3.5 medium", "sd35_medium"),
    (38, 192**2): _sd3("SD 3.5 large", "sd35_large"),
}

_FLUX_BLOCKS = (19, 38)
_FLUX_SAMPLES = 64

_QUANTISED = (".scale_weight", ".weight_scale", ".absmax", ".quant_map", ".qweight", "scaled_fp8")
_PLAIN_TYPES = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "BOOL"})


def family_of(header: Header) -> Family:
    """Return the kind of a checkpoint.

    Args:
        header: Its header.

    Raises:
        EngineFailure: If it is of none that is supported, saying what was seen.
    """
    others = header.types - _PLAIN_TYPES
    if others or any(key.endswith(_QUANTISED) for key in header.shapes):
        seen = f"holds {', '.join(sorted(others))}" if others else "has scales beside its weights"
        raise _refusal(f"it {seen}: quantised weights need more than this format says")
    family = _unet(header) or _transformer(header)
    if family is None:
        raise _refusal(_seen(header))
    return family


def _unet(header: Header) -> Family | None:
    shapes = header.shapes
    if _UNET_FIRST not in shapes:
        return None
    samples = shapes[_UNET_FIRST][1]
    if samples != _UNET_SAMPLES:
        what = _OTHER_UNETS.get(samples, "of a kind that is not known")
        raise _refusal(f"its UNet takes {samples} channels: it is {what}")
    width = shapes[_UNET_TEXT][-1] if _UNET_TEXT in shapes else None
    if "edm_mean" in shapes:
        raise _refusal("it is Playground 2.5, which has a scheduler of its own")
    if width not in _UNETS:
        raise _refusal(
            f"the text has {width or 'an unknown number of'} numbers a word for its UNet"
            + (": it is the SDXL refiner" if width == 1280 else "")
        )
    return _UNETS[width]


def _transformer(header: Header) -> Family | None:
    shapes = {key.removeprefix(_INNER): shape for key, shape in header.shapes.items()}
    if "pos_embed" in shapes and (blocks := _count(shapes, "joint_blocks.")):
        places = shapes["pos_embed"][1]
        if (blocks, places) not in _SD3S:
            raise _refusal(f"it is like SD 3, but has {blocks} blocks and {places} places")
        return _SD3S[blocks, places]
    if "double_blocks.0.img_attn.norm.key_norm.scale" not in shapes:
        return None
    blocks_of_both = (_count(shapes, "double_blocks."), _count(shapes, "single_blocks."))
    samples = shapes.get("img_in.weight", (0, 0))[1]
    if (
        blocks_of_both != _FLUX_BLOCKS
        or samples != _FLUX_SAMPLES
        or "vector_in.in_layer.weight" not in shapes
    ):
        raise _refusal(
            f"it is like FLUX.1, but has {blocks_of_both[0]} + {blocks_of_both[1]} blocks and "
            f"takes {samples} channels"
        )
    is_dev = "guidance_in.in_layer.weight" in shapes
    return Family(
        name="FLUX.1 dev" if is_dev else "FLUX.1 schnell",
        configs="flux_dev" if is_dev else "flux_schnell",
        parts=_FLUX_PARTS,
    )


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    return len({key.split(".")[1] for key in shapes if key.startswith(prefix)})


def _seen(header: Header) -> str:
    keys = sorted(header.shapes)
    if any("lora_" in key for key in keys):
        return "it is a LoRA adapter"
    if any(key.startswith(("down_blocks.", "transformer_blocks.")) for key in keys):
        return "it is one component of a diffusers directory, not a whole model"
    if "decoder.conv_in.weight" in keys:
        return "it is an autoencoder alone"
    shown = ", ".join(key[:64] for key in keys[:3])
    return f"it has {len(keys)} tensors, the first {shown}" if keys else "it has no tensors"


def _refusal(seen: str) -> EngineFailure:
    return EngineFailure(
        "model-invalid",
        f"this single-file checkpoint is not supported: {seen}; supported: {SUPPORTED}",
    )
