from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.tokenizer.streaming import ByteFallbackStream, ByteLevelStream, StreamDecoder, WindowStream

REPLACEMENT = "\ufffd"
PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
ALPHABET = {byte: chr(byte) if byte in PRINTABLE else chr(0x100 + OTHERS.index(byte)) for byte in range(256)}


def run(stream: StreamDecoder, ids: Sequence[int]) -> list[str]:
    return [*(stream.push(token_id) for token_id in ids), stream.finish()]


def test_the_byte_alphabet_is_that_of_the_tokenizers_library() -> None:
    from tokenizers import pre_tokenizers

    assert set(ALPHABET.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for byte in range(0x80):
        assert split.pre_tokenize_str(chr(byte))[0][0] == ALPHABET[byte]


@given(st.binary(max_size=40))
def test_byte_level_text_is_the_bytes_as_utf8(data: bytes) -> None:
    pieces = run(ByteLevelStream(ALPHABET.get), list(data))
    assert "".join(pieces) == data.decode("utf-8", "replace")


@given(st.text(max_size=20))
def test_byte_level_never_shows_part_of_a_character(text: str) -> None:
    data = text.encode("utf-8", "replace")
    pieces = run(ByteLevelStream(ALPHABET.get), list(data))
    assert "".join(pieces) == data.decode("utf-8")
    assert all(len(piece) <= 1 for piece in pieces)
    assert REPLACEMENT in text or all(REPLACEMENT not in piece for piece in pieces)


def test_byte_level_tokens_outside_the_alphabet_are_their_own_text() -> None:
    vocabulary = {0: "你好 x", 1: ALPHABET[0xE4], 2: "Ġa"}
    assert run(ByteLevelStream(vocabulary.get), [0, 2, 99, 1]) == ["你好 x", " a", "", "", REPLACEMENT]


def sentencepiece_vocabulary() -> dict[int, str]:
    vocabulary = {byte: f"<0x{byte:02X}>" for byte in range(256)}
    return vocabulary | {256: "▁hello", 257: "▁", 258: "世", 259: "x▁y"}


@given(st.lists(st.one_of(st.integers(0, 259), st.sampled_from(list("你🙂é".encode())))), st.booleans())
def test_byte_fallback_against_a_naive_twin(ids: list[int], strip: bool) -> None:
    vocabulary = sentencepiece_vocabulary()
    data = b""
    expected = ""

    def characters(pending: bytes) -> str:
        """Valid characters as they are, every other byte as U+FFFD."""
        text, position = "", 0
        while position < len(pending):
            for length in (1, 2, 3, 4):
                try:
                    text += pending[position : position + length].decode("utf-8")
                    position += length
                    break
                except UnicodeDecodeError:
                    continue
            else:
                text += REPLACEMENT
                position += 1
        return text

    for token_id in ids:
        if token_id < 256:
            data += bytes([token_id])
        else:
            expected += characters(data) + vocabulary[token_id].replace("▁", " ")
            data = b""
    expected += characters(data)
    if strip:
        expected = expected.removeprefix(" ")
    pieces = run(ByteFallbackStream(vocabulary.get, strip_leading_space=strip), ids)
    assert "".join(pieces) == expected


def test_byte_fallback_waits_for_whole_characters() -> None:
    stream = ByteFallbackStream(sentencepiece_vocabulary().get, strip_leading_space=True)
    assert [stream.push(one) for one in [256, 257, *"你".encode(), 0xE4, 258]] == [
        "hello",
        " ",
        "",
        "",
        "你",
        "",
        "\ufffd世",
    ]
    assert stream.finish() == ""


def test_only_one_leading_space_is_dropped() -> None:
    stream = ByteFallbackStream(sentencepiece_vocabulary().get, strip_leading_space=True)
    assert [stream.push(one) for one in [257, 257, 256]] == ["", " ", " hello"]


WORDS = {0: "one", 1: "##two", 2: "three", 3: "", 4: "\ufffd"}


def join_words(ids: Sequence[int]) -> str:
    return " ".join(WORDS[one] for one in ids).replace(" ##", "")


@given(st.lists(st.integers(0, 2)))
def test_window_text_is_the_whole_text(ids: list[int]) -> None:
    assert "".join(run(WindowStream(join_words), ids)) == join_words(ids)


def test_a_window_holds_back_what_may_become_a_character() -> None:
    def decode(ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")

    data = "a你🙂".encode()
    pieces = run(WindowStream(decode), list(data))
    assert pieces == ["a", "", "", "你", "", "", "", "🙂", ""]
    assert run(WindowStream(decode), [0xE4])[-1] == REPLACEMENT


def test_a_window_does_not_wait_for_ever() -> None:
    pieces = run(WindowStream(lambda ids: REPLACEMENT * len(ids)), [0] * 40)
    assert "".join(pieces) == REPLACEMENT * 40
    assert any(pieces[:20])


@pytest.mark.parametrize("kind", ["byte level", "byte fallback", "window"])
def test_the_cost_of_a_token_does_not_grow_with_the_answer(kind: str) -> None:
    looked_up = 0

    def token_text(token_id: int) -> str:
        nonlocal looked_up
        looked_up += 1
        return "a"

    def decode(ids: Sequence[int]) -> str:
        return "".join(token_text(one) for one in ids)

    streams: dict[str, StreamDecoder] = {
        "byte level": ByteLevelStream(token_text),
        "byte fallback": ByteFallbackStream(token_text, strip_leading_space=True),
        "window": WindowStream(decode),
    }
    run(streams[kind], [0] * 1000)
    assert looked_up <= 4 * 1000
