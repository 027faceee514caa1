"""Windows over a text as transformers' guide makes them, and the texts and sizes that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.benchmark.passages import chosen_windows, windows
from ftllm_nb.errors import UsageError
from ftllm_nb.tokenizer.text_file import read_text


def judged_by_the_guide(length: int, window: int, stride: int) -> list[tuple[int, int, list[int]]]:
    """(begin, end, judged positions) of each window: the guide's loop, its labels shifted by one as models do."""
    found = []
    previous_end = 0
    for begin in range(0, length, stride):
        end = min(begin + window, length)
        target_length = end - previous_end
        labels = [-100] * (end - begin - target_length) + list(range(end - target_length, end))
        found.append((begin, end, [label for label in labels[1:] if label != -100]))
        previous_end = end
        if end == length:
            break
    return found


@given(st.integers(2, 60), st.integers(2, 60), st.data())
def test_windows_are_those_of_the_guide(length: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    found = []
    for passage in windows(range(length), window, stride):
        ids = passage.token_ids.tolist()
        found.append((ids[0], ids[-1] + 1, ids[passage.first :]))
        assert passage.first >= 1 and passage.num_judged == len(ids) - passage.first
    assert found == [each for each in judged_by_the_guide(length, window, stride) if each[2]]


def test_a_stride_below_the_window_judges_every_token_but_the_first_once() -> None:
    judged = [token for passage in windows(range(100), 16, 5) for token in passage.token_ids[passage.first :].tolist()]
    assert judged == list(range(1, 100))


@pytest.mark.parametrize(("stride", "firsts"), [(4, [1, 4, 4]), (8, [1, 2])])
def test_every_window_begins_as_sequences_do(stride: int, firsts: list[int]) -> None:
    """The tokens that are judged stay those of the text."""
    text = [101, 102, *range(14)]
    found = windows(text, 8, stride, (101, 102))
    assert [passage.first for passage in found] == firsts
    for passage, begin in zip(found, range(0, 16, stride), strict=False):
        assert passage.token_ids[:2].tolist() == [101, 102]
        assert passage.token_ids[passage.first :].tolist() == text[begin + passage.first : begin + 8]


def test_what_nobody_chose_is_chosen() -> None:
    assert chosen_windows(range(5000), None, None, 1024, "a text") == (1024, 512)
    assert chosen_windows(range(5000), None, None, 9999, "a text") == (2048, 1024)
    assert chosen_windows(range(5), None, None, 1024, "a text") == (5, 2)
    assert chosen_windows(range(50), 8, None, 1024, "a text") == (8, 4)
    assert chosen_windows(range(50), 8, 8, 1024, "a text") == (8, 8)


@pytest.mark.parametrize(
    "tokens, window, stride, says",
    [
        (1, None, None, "one token long"),
        (50, 51, None, "has 50 tokens, less than a window of 51"),
        (5000, 1025, None, "context of 1024"),
        (50, 8, 9, "stride of 9 tokens would leave some out"),
    ],
)
def test_windows_that_cannot_be(tokens: int, window: int | None, stride: int | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        chosen_windows(range(tokens), window, stride, 1024, "a text")


@pytest.mark.parametrize(
    "content, says",
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"good until here \xff\xfe", "not UTF-8 .byte 16"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "text"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=says):
        read_text(file)


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
