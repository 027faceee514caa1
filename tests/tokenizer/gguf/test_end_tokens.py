from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.tokenizer.gguf.end_tokens import end_of_generation
from ftllm_nb.tokenizer.gguf.metadata import Metadata


def ends(tokens: str, eos: str | None = None, kind: int = 3, **ids: Any) -> set[str]:
    names = tokens.split()
    by_name = {name: at for at, name in enumerate(names)}
    keys = {f"tokenizer.ggml.{key}_token_id": by_name[value] for key, value in ids.items()}
    eos_id = None if eos is None else by_name[eos]
    found = end_of_generation(Metadata(keys, "m.gguf"), by_name, np.full(len(names), kind), eos_id)
    return {names[token_id] for token_id in found}


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("a <|im_start|> <|im_end|> <|endoftext|>", "<|im_end|> <|endoftext|>"),
        ("<|begin_of_text|> <|eot_id|> <|eom_id|> <|end_of_text|>", "<|eot_id|> <|eom_id|> <|end_of_text|>"),
        ("<bos> <end_of_turn> <eos>", "<end_of_turn> <eos>"),
        ("<｜end▁of▁sentence｜> <｜User｜>", "<｜end▁of▁sentence｜>"),
        ("<|end|> <|assistant|>", "<|end|>"),
        ("<|start|> <|end|> <|return|> <|call|>", "<|return|> <|call|>"),
        ("</s> <turn|> <|tool_response>", "<turn|> <|tool_response>"),
        ("<fim_prefix> <fim_pad> <reponame> <|file_sep|>", "<fim_pad> <reponame> <|file_sep|>"),
    ],
)
def test_known_spellings(tokens: str, expected: str) -> None:
    assert ends(tokens) == set(expected.split())


def test_ids_that_the_file_names() -> None:
    assert ends("a b c d", eos="a", eot="b", eom="c") == {"a", "b", "c"}
    assert ends("x <|fim_pad|>", fim_pad="x") == {"x"}


def test_a_tag_of_html_is_no_end() -> None:
    assert ends("</s>", kind=1) == set()
    assert ends("</s>", eos="</s>", kind=1) == {"</s>"}
