"""The keys and shapes of single-file checkpoints, as their trainers' code names them.

Written from the architectures, not from diffusers' conversion, which is what they test.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

Shapes = dict[str, tuple[int, ...]]

_SIZES = {"F32": 4, "F16": 2, "I64": 8}


def write_holes(path: Path, shapes: Mapping[str, tuple[int, ...]], kind: str = "F16") -> None:
    """Write a safetensors file of zeros that takes no room on the disk.

    Args:
        path: Where to.
        shapes: Its tensors.
        kind: Their type. Default: 16 bits.
    """
    header: dict[str, object] = {}
    start = 0
    for key, shape in shapes.items():
        dtype = "I64" if key.endswith("position_ids") else kind
        size = _SIZES[dtype]
        for side in shape:
            size *= side
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + start)


def sd15(*, width: int = 320, vae_width: int = 128, layers: int = 12) -> Shapes:
    """Return those of Stable Diffusion 1.5, or of a smaller one of its kind.

    Args:
        width: Of the UNet's first block. Default: the real one's.
        vae_width: Of the autoencoder's. Default: the real one's.
        layers: Of the text encoder. Default: the real one's.
    """
    shapes = _unet(context=768, attention={0: 1, 1: 1, 2: 1}, mid=1, base=width)
    clip = _clip("cond_stage_model.transformer.", 768, layers)
    return {**shapes, **autoencoder("first_stage_model.", base=vae_width), **clip}


def sd21() -> Shapes:
    """Return those of Stable Diffusion 2.1."""
    shapes = _unet(context=1024, attention={0: 1, 1: 1, 2: 1}, mid=1, linear=True)
    clip = _open_clip("cond_stage_model.model.", 1024, 24)
    return {**shapes, **autoencoder("first_stage_model."), **clip}


def sdxl() -> Shapes:
    """Return those of Stable Diffusion XL."""
    shapes = _unet(
        context=2048, attention={1: 2, 2: 10}, mid=10, levels=(1, 2, 4), linear=True, vector=2816
    )
    return {
        **shapes,
        **autoencoder("first_stage_model."),
        **_clip("conditioner.embedders.0.transformer.", 768, 12),
        **_open_clip("conditioner.embedders.1.model.", 1280, 32),
    }


def sd3(*, layers: int = 24, positions: int = 192, normed: bool = False, dual: int = 0) -> Shapes:
    """Return those of Stable Diffusion 3's transformer and autoencoder.

    Args:
        layers: Its blocks. Default: those of SD 3 medium.
        positions: Side of its table of positions. Default: that of SD 3 medium.
        normed: Whether queries and keys are normed. Default: no.
        dual: How many blocks have a second attention. Default: none.
    """
    width = 64 * layers
    shapes: Shapes = {
        "pos_embed": (1, positions**2, width),
        **_linear("x_embedder.proj", width, 16, kernel=(2, 2)),
        **_linear("context_embedder", width, 4096),
        **_linear("t_embedder.mlp.0", width, 256),
        **_linear("t_embedder.mlp.2", width, width),
        **_linear("y_embedder.mlp.0", width, 2048),
        **_linear("y_embedder.mlp.2", width, width),
        **_linear("final_layer.linear", 64, width),
        **_linear("final_layer.adaLN_modulation.1", 2 * width, width),
    }
    for layer in range(layers):
        for side in ("context_block", "x_block"):
            name = f"joint_blocks.{layer}.{side}"
            is_last = side == "context_block" and layer == layers - 1
            is_dual = side == "x_block" and layer < dual
            parts = 2 if is_last else 9 if is_dual else 6
            shapes |= _linear(f"{name}.adaLN_modulation.1", parts * width, width)
            for attention in ("attn", "attn2") if is_dual else ("attn",):
                shapes |= _linear(f"{name}.{attention}.qkv", 3 * width, width)
                if normed:
                    shapes[f"{name}.{attention}.ln_q.weight"] = (64,)
                    shapes[f"{name}.{attention}.ln_k.weight"] = (64,)
                if not is_last:
                    shapes |= _linear(f"{name}.{attention}.proj", width, width)
            if not is_last:
                shapes |= _linear(f"{name}.mlp.fc1", 4 * width, width)
                shapes |= _linear(f"{name}.mlp.fc2", width, 4 * width)
    vae = autoencoder("first_stage_model.", latents=16, quantised=False)
    return {**{f"model.diffusion_model.{key}": shape for key, shape in shapes.items()}, **vae}


def sd3_text_encoders(*, t5: bool) -> Shapes:
    """Return those of SD 3's text encoders, which some files carry.

    Args:
        t5: Whether T5 is among them.
    """
    shapes = {
        **_clip("text_encoders.clip_l.transformer.", 768, 12, with_positions=False),
        **_clip("text_encoders.clip_g.transformer.", 1280, 32, with_positions=False),
        "text_encoders.clip_g.transformer.text_projection.weight": (1280, 1280),
    }
    return {**shapes, **(_t5("text_encoders.t5xxl.transformer.") if t5 else {})}


def flux(*, guidance: bool) -> Shapes:
    """Return those of FLUX.1's transformer alone, as Black Forest Labs publishes it.

    Args:
        guidance: Whether it is told the guidance scale (dev), or not (schnell).
    """
    width, mlp = 3072, 4 * 3072
    shapes: Shapes = {
        **_linear("img_in", width, 64),
        **_linear("txt_in", width, 4096),
        **_linear("final_layer.linear", 64, width),
        **_linear("final_layer.adaLN_modulation.1", 2 * width, width),
    }
    for name, size in {"time_in": 256, "vector_in": 768, "guidance_in": 256}.items():
        if guidance or name != "guidance_in":
            shapes |= _linear(f"{name}.in_layer", width, size)
            shapes |= _linear(f"{name}.out_layer", width, width)
    for block in range(19):
        for side in ("img", "txt"):
            name = f"double_blocks.{block}.{side}"
            shapes |= _linear(f"{name}_mod.lin", 6 * width, width)
            shapes |= _linear(f"{name}_attn.qkv", 3 * width, width)
            shapes |= _linear(f"{name}_attn.proj", width, width)
            shapes |= _linear(f"{name}_mlp.0", mlp, width)
            shapes |= _linear(f"{name}_mlp.2", width, mlp)
            shapes[f"{name}_attn.norm.query_norm.scale"] = (128,)
            shapes[f"{name}_attn.norm.key_norm.scale"] = (128,)
    for block in range(38):
        name = f"single_blocks.{block}"
        shapes |= _linear(f"{name}.modulation.lin", 3 * width, width)
        shapes |= _linear(f"{name}.linear1", 3 * width + mlp, width)
        shapes |= _linear(f"{name}.linear2", width, width + mlp)
        shapes[f"{name}.norm.query_norm.scale"] = (128,)
        shapes[f"{name}.norm.key_norm.scale"] = (128,)
    return shapes


def flux_whole(*, guidance: bool) -> Shapes:
    """Return those of FLUX.1 with all that it needs in one file.

    Args:
        guidance: As for `flux`.
    """
    transformer = {
        f"model.diffusion_model.{key}": shape for key, shape in flux(guidance=guidance).items()
    }
    return {
        **transformer,
        **autoencoder("vae.", latents=16, quantised=False),
        **_clip("text_encoders.clip_l.transformer.", 768, 12, with_positions=False),
        **_t5("text_encoders.t5xxl.transformer."),
    }


def autoencoder(
    prefix: str, *, latents: int = 4, quantised: bool = True, base: int = 128
) -> Shapes:
    """Return those of an autoencoder.

    Args:
        prefix: What its keys begin with.
        latents: Its channels of latents.
        quantised: Whether it has the layers between latents and the rest.
        base: Width of its first block.
    """
    widths = (base, 2 * base, 4 * base, 4 * base)
    most = widths[-1]
    shapes = _linear("encoder.conv_in", base, 3, kernel=(3, 3))
    width = base
    for level, out in enumerate(widths):
        for block in range(2):
            shapes |= _autoencoder_block(f"encoder.down.{level}.block.{block}", width, out)
            width = out
        if level < 3:
            name = f"encoder.down.{level}.downsample.conv"
            shapes |= _linear(name, width, width, kernel=(3, 3))
    for half in ("encoder", "decoder"):
        shapes |= _autoencoder_block(f"{half}.mid.block_1", most, most)
        shapes |= _autoencoder_block(f"{half}.mid.block_2", most, most)
        shapes |= _norm(f"{half}.mid.attn_1.norm", most)
        for part in ("q", "k", "v", "proj_out"):
            shapes |= _linear(f"{half}.mid.attn_1.{part}", most, most, kernel=(1, 1))
    shapes |= _norm("encoder.norm_out", most)
    shapes |= _linear("encoder.conv_out", 2 * latents, most, kernel=(3, 3))
    shapes |= _linear("decoder.conv_in", most, latents, kernel=(3, 3))
    width = most
    for level in (3, 2, 1, 0):
        for block in range(3):
            shapes |= _autoencoder_block(f"decoder.up.{level}.block.{block}", width, widths[level])
            width = widths[level]
        if level:
            name = f"decoder.up.{level}.upsample.conv"
            shapes |= _linear(name, width, width, kernel=(3, 3))
    shapes |= _norm("decoder.norm_out", base)
    shapes |= _linear("decoder.conv_out", 3, base, kernel=(3, 3))
    if quantised:
        shapes |= _linear("quant_conv", 2 * latents, 2 * latents, kernel=(1, 1))
        shapes |= _linear("post_quant_conv", latents, latents, kernel=(1, 1))
    return {prefix + key: shape for key, shape in shapes.items()}


def _autoencoder_block(name: str, before: int, after: int) -> Shapes:
    shapes = {
        **_norm(f"{name}.norm1", before),
        **_linear(f"{name}.conv1", after, before, kernel=(3, 3)),
        **_norm(f"{name}.norm2", after),
        **_linear(f"{name}.conv2", after, after, kernel=(3, 3)),
    }
    if before != after:
        shapes |= _linear(f"{name}.nin_shortcut", after, before, kernel=(1, 1))
    return shapes


def _unet(
    *,
    context: int,
    attention: Mapping[int, int],
    mid: int,
    levels: tuple[int, ...] = (1, 2, 4, 4),
    linear: bool = False,
    vector: int | None = None,
    base: int = 320,
) -> Shapes:
    embedding = 4 * base
    shapes = {
        **_linear("time_embed.0", embedding, base),
        **_linear("time_embed.2", embedding, embedding),
        **_linear("input_blocks.0.0", base, 4, kernel=(3, 3)),
        **_norm("out.0", base),
        **_linear("out.2", 4, base, kernel=(3, 3)),
    }
    if vector is not None:
        shapes |= _linear("label_emb.0.0", embedding, vector)
        shapes |= _linear("label_emb.0.2", embedding, embedding)
    width, place, widths = base, 1, [base]
    for level, times in enumerate(levels):
        for _ in range(2):
            name = f"input_blocks.{place}"
            shapes |= _unet_block(f"{name}.0", width, base * times, embedding)
            width = base * times
            if level in attention:
                shapes |= _transformer(f"{name}.1", width, context, attention[level], linear)
            widths.append(width)
            place += 1
        if level < len(levels) - 1:
            shapes |= _linear(f"input_blocks.{place}.0.op", width, width, kernel=(3, 3))
            widths.append(width)
            place += 1
    shapes |= _unet_block("middle_block.0", width, width, embedding)
    shapes |= _transformer("middle_block.1", width, context, mid, linear)
    shapes |= _unet_block("middle_block.2", width, width, embedding)
    place = 0
    for level in reversed(range(len(levels))):
        for block in range(3):
            name = f"output_blocks.{place}"
            shapes |= _unet_block(
                f"{name}.0", width + widths.pop(), base * levels[level], embedding
            )
            width = base * levels[level]
            after = 1
            if level in attention:
                shapes |= _transformer(f"{name}.1", width, context, attention[level], linear)
                after = 2
            if level and block == 2:
                shapes |= _linear(f"{name}.{after}.conv", width, width, kernel=(3, 3))
            place += 1
    return {f"model.diffusion_model.{key}": shape for key, shape in shapes.items()}


def _unet_block(name: str, before: int, after: int, embedding: int) -> Shapes:
    shapes = {
        **_norm(f"{name}.in_layers.0", before),
        **_linear(f"{name}.in_layers.2", after, before, kernel=(3, 3)),
        **_linear(f"{name}.emb_layers.1", after, embedding),
        **_norm(f"{name}.out_layers.0", after),
        **_linear(f"{name}.out_layers.3", after, after, kernel=(3, 3)),
    }
    if before != after:
        shapes |= _linear(f"{name}.skip_connection", after, before, kernel=(1, 1))
    return shapes


def _transformer(name: str, width: int, context: int, depth: int, linear: bool) -> Shapes:
    kernel = () if linear else (1, 1)
    shapes = {
        **_norm(f"{name}.norm", width),
        **_linear(f"{name}.proj_in", width, width, kernel=kernel),
        **_linear(f"{name}.proj_out", width, width, kernel=kernel),
    }
    for block in range(depth):
        inner = f"{name}.transformer_blocks.{block}"
        for attention, other in (("attn1", width), ("attn2", context)):
            shapes[f"{inner}.{attention}.to_q.weight"] = (width, width)
            shapes[f"{inner}.{attention}.to_k.weight"] = (width, other)
            shapes[f"{inner}.{attention}.to_v.weight"] = (width, other)
            shapes |= _linear(f"{inner}.{attention}.to_out.0", width, width)
        shapes |= _linear(f"{inner}.ff.net.0.proj", 8 * width, width)
        shapes |= _linear(f"{inner}.ff.net.2", width, 4 * width)
        for norm in ("norm1", "norm2", "norm3"):
            shapes |= _norm(f"{inner}.{norm}", width)
    return shapes


def _clip(prefix: str, width: int, layers: int, *, with_positions: bool = True) -> Shapes:
    shapes: Shapes = {
        "embeddings.token_embedding.weight": (49408, width),
        "embeddings.position_embedding.weight": (77, width),
        **_norm("final_layer_norm", width),
    }
    if with_positions:
        shapes["embeddings.position_ids"] = (1, 77)
    for layer in range(layers):
        name = f"encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{name}.self_attn.{part}", width, width)
        shapes |= _norm(f"{name}.layer_norm1", width)
        shapes |= _norm(f"{name}.layer_norm2", width)
        shapes |= _linear(f"{name}.mlp.fc1", 4 * width, width)
        shapes |= _linear(f"{name}.mlp.fc2", width, 4 * width)
    return {f"{prefix}text_model.{key}": shape for key, shape in shapes.items()}


def _open_clip(prefix: str, width: int, layers: int) -> Shapes:
    shapes: Shapes = {
        "positional_embedding": (77, width),
        "text_projection": (width, width),
        "logit_scale": (),
        "token_embedding.weight": (49408, width),
        **_norm("ln_final", width),
    }
    for layer in range(layers):
        name = f"transformer.resblocks.{layer}"
        shapes[f"{name}.attn.in_proj_weight"] = (3 * width, width)
        shapes[f"{name}.attn.in_proj_bias"] = (3 * width,)
        shapes |= _linear(f"{name}.attn.out_proj", width, width)
        shapes |= _norm(f"{name}.ln_1", width)
        shapes |= _norm(f"{name}.ln_2", width)
        shapes |= _linear(f"{name}.mlp.c_fc", 4 * width, width)
        shapes |= _linear(f"{name}.mlp.c_proj", width, 4 * width)
    return {prefix + key: shape for key, shape in shapes.items()}


def _t5(prefix: str) -> Shapes:
    shapes: Shapes = {
        "shared.weight": (32128, 4096),
        "encoder.embed_tokens.weight": (32128, 4096),
        "encoder.final_layer_norm.weight": (4096,),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 64),
    }
    for block in range(24):
        name = f"encoder.block.{block}.layer"
        for part in "qkvo":
            shapes[f"{name}.0.SelfAttention.{part}.weight"] = (4096, 4096)
        shapes[f"{name}.0.layer_norm.weight"] = (4096,)
        shapes[f"{name}.1.layer_norm.weight"] = (4096,)
        shapes[f"{name}.1.DenseReluDense.wi_0.weight"] = (10240, 4096)
        shapes[f"{name}.1.DenseReluDense.wi_1.weight"] = (10240, 4096)
        shapes[f"{name}.1.DenseReluDense.wo.weight"] = (4096, 10240)
    return {prefix + key: shape for key, shape in shapes.items()}


def _linear(name: str, after: int, before: int, kernel: tuple[int, ...] = ()) -> Shapes:
    return {f"{name}.weight": (after, before, *kernel), f"{name}.bias": (after,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
