"""Sizes in bytes as people write and read them; one meaning of "2G" everywhere."""

from __future__ import annotations

import re

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?))?B?\s*", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Bytes of 500M, 4GB or 1.5g (powers of 1000), of 2Gi or 2GiB (powers of 1024), or of a number alone.

    Raises `ValueError` for anything else, and for 0; its text says what is expected.
    """
    found = _SIZE.fullmatch(text)
    size = 0.0
    if found is not None:
        base = 1024 if found[3] else 1000
        size = float(found[1]) * base ** " KMGT".index((found[2] or " ").upper())
    if not 1 <= size < 1e18:
        raise ValueError(f"a size such as 500M, 4GB or 2GiB is expected, not {text!r}")
    return int(size)


def shown_bytes(size: int) -> str:
    """A size in GB, or in MB where it is smaller."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
