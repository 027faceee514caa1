"""What is text, and how it is decoded."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path

import pytest

from ftllm_nb.cli.talk.text_file import decoded, read_text
from ftllm_nb.cli.talk.waiting import read_waiting
from ftllm_nb.errors import UsageError

TEXT = "Grüße, 你好 \U0001f600\nmore lines of English text\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode("utf-16"),
    ],
)
def test_encodings_are_known_by_their_marks_and_zeros(data: bytes) -> None:
    assert decoded(data, "file") == TEXT


@pytest.mark.parametrize(
    "data",
    [b"\x7fELF\x02\x01\x01\0", b"\x89PNG\r\n\x1a\n\0\0", b"PK\x03\x04ab", b"a\0b", b"\x1f\x8b\x08", bytes(10)],
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^file is no text but a binary file: name a file of text\.$"):
        decoded(data, "file")


def test_programs_are_no_text() -> None:
    with pytest.raises(UsageError, match="binary"):
        read_text(sys.executable)


def test_text_of_other_encodings_is_read_and_said(tmp_path: Path) -> None:
    file = tmp_path / "latin"
    file.write_bytes("café \x1b[1mnaïve".encode("latin-1"))
    waiting = read_waiting(str(file))
    assert waiting.text == "caf\ufffd \x1b[1mna\ufffdve"
    assert waiting.notes == ("2 bytes are no UTF-8, and \ufffd stands there instead",)
