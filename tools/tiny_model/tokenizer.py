"""A CLIP tokenizer with one token for each word of the grammar, and bytes for all other text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias

from transformers import CLIPTokenizer

from tools.tiny_model.grammar import vocabulary

MAXIMUM_LENGTH: Final = 77
_WORD_END: Final = "</w>"
_BEGIN: Final = "<|startoftext|>"
_END: Final = "<|endoftext|>"
# What prompts in the wild also contain, besides the words of the grammar.
_PUNCTUATION: Final = (",", ".")

_Merge: TypeAlias = tuple[str, str]


def build() -> Any:
    """Returns the tokenizer."""
    merges = learn_merges((*vocabulary(), *_PUNCTUATION))
    letters = [*byte_letters(), *(letter + _WORD_END for letter in byte_letters())]
    tokens = [*letters, *("".join(merge) for merge in merges), _BEGIN, _END]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,
        model_max_length=MAXIMUM_LENGTH,
    )


def save(tokenizer: Any, folder: Path) -> None:
    """Writes the tokenizer, in today's format and in the two files that older readers expect."""
    tokenizer.save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder))


def encode(tokenizer: Any, prompts: list[str]) -> Any:
    """Returns the token numbers of prompts, prompts x ``MAXIMUM_LENGTH``."""
    return tokenizer(
        prompts,
        padding="max_length",
        max_length=MAXIMUM_LENGTH,
        truncation=True,
        return_tensors="pt",
    ).input_ids


def byte_letters() -> tuple[str, ...]:
    """Returns the printable letter that stands for each byte, as byte-level BPE has them."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)}
    printable |= set(range(ord("®"), ord("ÿ") + 1))
    hidden = [byte for byte in range(256) if byte not in printable]
    return tuple(
        chr(byte) if byte in printable else chr(256 + hidden.index(byte)) for byte in range(256)
    )


def learn_merges(words: Iterable[str]) -> list[_Merge]:
    """Learns byte-pair merges until every word is a single token.

    Args:
        words: ASCII words, each of which counts once.

    Returns:
        The merges, in the order in which they apply.
    """
    spellings = [[*word[:-1], word[-1] + _WORD_END] for word in words]
    merges: list[_Merge] = []
    while pairs := Counter(pair for letters in spellings for pair in pairwise(letters)):
        # The most frequent pair; among equals the alphabet decides, so that runs agree.
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spellings = [_merged(letters, best) for letters in spellings]
    return merges


def _merged(letters: list[str], merge: _Merge) -> list[str]:
    result: list[str] = []
    for letter in letters:
        if result and (result[-1], letter) == merge:
            result[-1] += letter
        else:
            result.append(letter)
    return result
