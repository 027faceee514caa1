"""Sizes in bytes, as flags take them."""

from __future__ import annotations

import argparse

import pytest

from ftllm_nb.cli.number_types import byte_size


@pytest.mark.parametrize(
    "text, size",
    [("1B", 1), ("300kB", 300_000), ("500MB", 500_000_000), (" 5 gb ", 5 * 10**9), ("1.5GiB", 3 << 29)],
)
def test_sizes(text: str, size: int) -> None:
    assert byte_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "5 GB more", "GB", "0GB", "-1GB", "1e3MB", "nanGB", "5PB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a size is expected, as 500MB or 5GB"):
        byte_size(text)
