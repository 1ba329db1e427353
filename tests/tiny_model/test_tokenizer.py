"""Every word of the grammar is one token, and no other text is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tools.tiny_model.tokenizer import build

    return build()


def test_each_word_is_one_token(tokenizer: Any) -> None:
    from tools.tiny_model.grammar import vocabulary

    assert [word for word in vocabulary() if len(tokenizer.tokenize(word)) != 1] == []


def test_unknown_text_falls_back_to_bytes(tokenizer: Any) -> None:
    from tools.tiny_model.tokenizer import byte_letters

    tokens = tokenizer.tokenize("日本 zebra!")
    spelt = "".join(tokens).replace("</w>", "")
    numbers = {letter: byte for byte, letter in enumerate(byte_letters())}
    assert bytes(numbers[letter] for letter in spelt).decode() == "日本zebra!"


def test_prompts_are_padded_and_cut_to_77_tokens(tokenizer: Any) -> None:
    from tools.tiny_model.tokenizer import encode

    tokens = encode(tokenizer, ["", "a red circle", "red " * 200])
    assert tokens.shape == (3, 77)
    assert tokens[:, 0].tolist() == [tokenizer.bos_token_id] * 3
    assert tokens[:, -1].tolist() == [tokenizer.eos_token_id] * 3


def test_the_saved_files_give_the_same_tokens(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    from tools.tiny_model.tokenizer import save

    save(tokenizer, tmp_path)
    assert {"vocab.json", "merges.txt", "tokenizer.json"} <= {p.name for p in tmp_path.iterdir()}
    again = CLIPTokenizer.from_pretrained(tmp_path)
    prompt = "A large red circle at the top left, on an orange background. ünknown"
    assert again(prompt).input_ids == tokenizer(prompt).input_ids
    assert again.model_max_length == tokenizer.model_max_length


def test_merges_are_learnt_from_the_most_frequent_pair() -> None:
    from tools.tiny_model.tokenizer import learn_merges

    assert learn_merges(["green", "red", "tree"])[0] == ("r", "e")
