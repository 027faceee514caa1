from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Regex, pre_tokenizers

from ftllm_nb.tokenizer.gguf.pre_tokenizers import PRE_TOKENIZERS

DOCUMENT = Path(__file__).parents[3] / "docs" / "tokenizers.md"
TEXT = "Don't x=12345678; WE'VE CamelCase naïve  \n\n\t你好kana かな 한국 é\u0301 ½"


def words(name: str, text: str) -> list[str]:
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[name].patterns]
    return [word for word, _ in pre_tokenizers.Sequence(splits).pre_tokenize_str(text)]


@pytest.mark.parametrize("name", sorted(PRE_TOKENIZERS))
def test_words_are_the_text(name: str) -> None:
    assert "".join(words(name, TEXT)) == TEXT
    assert len(words(name, TEXT)) > 3


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("gpt-2", "a 1234 DON'T don't", "a| 1234| DON|'|T| don|'t"),
        ("starcoder", "a 1234", "a| |1|2|3|4"),
        ("llama-bpe", "a 1234 DON'T\n\n b", "a| |123|4| DON|'T|\n\n| b"),
        ("qwen2", "a 1234 (x)\n", "a| |1|2|3|4| (|x|)\n"),
        ("qwen35", "a\u0301b", "a\u0301b"),
        ("qwen2", "a\u0301b", "a|\u0301b"),
        ("tekken", "HTTPServer camelCase 12", "HTTPServer| camel|Case| |1|2"),
        ("gpt-4o", "HTTPServer's camelCase 1234", "HTTPServer's| camel|Case| |123|4"),
        ("kimi-k2", "漢字abc 漢", "漢字|abc| |漢"),
        ("deepseek-v3", "漢字abc 1234 (x)", "漢字|abc| |123|4| (|x|)"),
        ("afmoe", "1234567 漢字カナ 12", "1|234|567| |漢字カナ| |12"),
        ("superbpe", "a b 1234567", "a b |1|234|567"),
        ("tiny_aya", "x 1234567", "x| |1|234|567"),
        ("deepseek-llm", "a b12\n!?", "a| b|1|2|\n|!?"),
        ("bloom", "Hello, world", "Hello|,| world"),
        ("exaone-moe", "ab cd 12", "ab cd| |1|2"),
        ("laguna", "a\n\n b", "a|\n\n| b"),
        ("seed-coder", "!\n\nb", "!|\n\n|b"),
        ("falcon", "1234 a(b)", "123|4| a|(|b|)"),
    ],
)
def test_how_text_is_cut(name: str, text: str, expected: str) -> None:
    assert "|".join(words(name, text)) == expected


def test_the_document_lists_all() -> None:
    listed = DOCUMENT.read_text(encoding="utf-8").split("```")[1].split()
    assert listed == sorted(PRE_TOKENIZERS)
