"""The text of a file, for all that reads texts as a model would."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ftllm_nb.errors import UsageError


def read_text(path: str | PathLike[str], called: str = "the text") -> str:
    """The text. Raises `UsageError`, which calls it so, where it cannot be read, is not UTF-8, or holds nothing."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{called} {path} is not UTF-8 (byte {error.start:,} is none of it): save it as UTF-8."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{called} {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if not text.strip():
        raise UsageError(f"{called} {path} is empty: name one with words in it.")
    return text
