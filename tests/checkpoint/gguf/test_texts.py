"""Strings of a vocabulary that are found together are those that are found one by one."""

from __future__ import annotations

import struct

import pytest

from ftllm_nb.checkpoint.gguf.texts import common_texts

TEXTS = ["a", "Ġthe", "", "日本", "x" * 300, "\x01", "ÿ" * 200, "<|end|>"] * 5


def laid(texts: list[str]) -> bytes:
    return b"".join(struct.pack("<Q", len(text.encode())) + text.encode() for text in texts)


@pytest.mark.parametrize("after", [b"", b"\0" * 100, b"\5\0\0\0\0\0\0\0hello"])
def test_common_strings_are_found(after: bytes) -> None:
    content = laid(TEXTS)
    assert common_texts(content + after, len(TEXTS)) == (TEXTS, len(content))
    assert common_texts(content + after, 3) == (TEXTS[:3], len(laid(TEXTS[:3])))


@pytest.mark.parametrize("odd", ["a\0b", "\0", "y" * 70_000, "\0" * 9])
def test_others_are_left_to_who_reads_them_one_by_one(odd: str) -> None:
    assert common_texts(laid([*TEXTS, odd, *TEXTS]), 2 * len(TEXTS) + 1) is None


def test_empty_strings_beside_each_other_are_left_to_them_too() -> None:
    assert common_texts(laid(["a", "", "", "b"]), 4) is None


@pytest.mark.parametrize("length", [0, 8, 9, 15, 400])
def test_what_ends_too_early_is_not_found(length: int) -> None:
    assert common_texts(laid(TEXTS)[:length], len(TEXTS)) is None


@pytest.mark.parametrize("bad", [b"\xff", b"\xe6\x97", b"\xc0\x80"])
def test_bytes_that_are_no_text_are_not_found(bad: bytes) -> None:
    content = laid(["a"]) + struct.pack("<Q", len(bad)) + bad + laid(["b"])
    assert common_texts(content, 3) is None


def test_a_length_that_lies_is_not_followed() -> None:
    content = bytearray(laid(TEXTS))
    content[0] = 2
    assert common_texts(bytes(content), len(TEXTS)) is None
