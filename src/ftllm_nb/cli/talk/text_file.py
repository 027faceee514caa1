"""Text of files that users name: decoded by its byte-order mark, and nothing that is no text."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from ftllm_nb.errors import UsageError

LARGEST_FILE = 64 << 20
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's, so it is looked for before that
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks, and the encodings that they stand for."""
_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\r\f\b\x1b") | {0x7F}
"""Bytes that text does not hold; terminals' records hold escapes and backspaces."""
REPLACEMENT = "\ufffd"


def decoded(data: bytes, name: str) -> str:
    """The text that bytes are, its lines ended by "\\n"; bytes that are no UTF-8 become U+FFFD.

    UTF-16 and UTF-32 are known by their marks, UTF-16 also by what every other byte of it is. Raises `UsageError` for
    what is no text; `name`: what the message calls it.
    """
    for mark, encoding in MARKS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(encoding, "replace")
            break
    else:
        text = data.decode(_encoding_without_mark(data, name), "replace")
    return text.replace("\r\n", "\n")


def _encoding_without_mark(data: bytes, name: str) -> str:
    if 0 in data and len(data) % 2 == 0:
        for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
            if zeros.count(0) * 10 >= len(zeros) * 8 and _is_text(data, encoding):
                return encoding
    # A program or a picture holds such bytes among its first ones; a long text is not searched for a stray one.
    if any(byte in _CONTROLS for byte in data[: 1 << 16]):
        raise UsageError(f"{name} is no text but a binary file: name a file of text.")
    return "utf-8"


def _is_text(data: bytes, encoding: str) -> bool:
    try:
        return not any(ord(character) in _CONTROLS for character in data.decode(encoding))
    except UnicodeDecodeError:
        return False


def read_text(path: str) -> str:
    """A file's text. Raises `UsageError`, also for files that never end, and for what is no text."""
    target = Path(os.path.expanduser(path))
    try:
        if target.is_dir():
            raise UsageError(f"{path} is a folder: name a file, or {os.path.join(path, '*')} for those in it.")
        if target.exists() and not target.is_file():
            raise UsageError(f"{path} is no plain file: name a file.")
        if target.exists() and target.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path} is larger than {LARGEST_FILE >> 20} MiB, too large for a conversation.")
        return decoded(target.read_bytes(), path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError:
        raise UsageError(f"{path!r} holds a character that no path may hold.") from None
