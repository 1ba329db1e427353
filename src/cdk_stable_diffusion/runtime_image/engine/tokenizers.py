"""The tokenizers of single-file checkpoints, which carry none: CLIP's and T5's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parent / "configs"
"""Folder of what the package ships for single-file checkpoints."""

_START, _END = "<|startoftext|>", "<|endoftext|>"
CLIP_WORDS = 77
T5_WORDS = 512


def clip_tokenizer(*, pad: str = _END) -> Any:
    """Make CLIP's tokenizer.

    Args:
        pad: What fills a prompt up. Default: the token that ends it.
    """
    from transformers import CLIPTokenizer

    merges = _merges()
    # CLIP numbers its tokens so: bytes, bytes that end a word, merges in order, the two marks.
    units = _units()
    tokens = [*units, *(f"{unit}</w>" for unit in units), *("".join(pair) for pair in merges)]
    vocabulary = {token: number for number, token in enumerate([*tokens, _START, _END])}
    return CLIPTokenizer(
        vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=CLIP_WORDS
    )


def t5_tokenizer() -> Any:
    """Make T5's tokenizer."""
    from transformers import T5Tokenizer

    return T5Tokenizer.from_pretrained(
        str(CONFIGS / "t5"), local_files_only=True, model_max_length=T5_WORDS
    )


def _merges() -> list[tuple[str, str]]:
    lines = (CONFIGS / "clip" / "merges.txt").read_text("utf-8").splitlines()
    return [(first, second) for first, second in (line.split(" ") for line in lines)]


def _units() -> list[str]:
    """Return one printable character for each byte, in the order that GPT-2 gave them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(others)]
