"""Sizes in bytes mean the same to every flag and to the Python API."""

from __future__ import annotations

import argparse

import pytest

from ftllm_nb.byte_sizes import parse_bytes, shown_bytes
from ftllm_nb.cli import build_parser
from ftllm_nb.cli.presets import flags_of
from ftllm_nb.errors import UsageError
from ftllm_nb.llm.requests import cache_bytes

SIZES = [
    ("1B", 1), ("300kB", 300_000), ("500MB", 500_000_000), (" 5 gb ", 5 * 10**9), ("1.5GiB", 3 << 29),
    ("2G", 2 * 10**9),
    ("2Gi", 2 << 30), ("10k", 10_000), ("1.5g", 1_500_000_000), ("4096", 4096), ("1T", 10**12),
]  # fmt: skip
NO_SIZES = ["", "5 GB more", "GB", "0GB", "0", "-1GB", "1e3MB", "nanGB", "5PB", "0.5", "i", "5i", "inf", "9" * 30]


def readers() -> list[object]:
    flags = [
        action.type
        for command in build_parser().commands.values()
        for action in flags_of(command).values()
        if action.metavar == "SIZE"
    ]
    assert len(flags) >= 3
    return [parse_bytes, cache_bytes, *flags]


@pytest.mark.parametrize("text, size", SIZES)
def test_every_reader_agrees(text: str, size: int) -> None:
    assert [read(text) for read in readers()] == [size] * len(readers())  # type: ignore[operator]


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size(text: str) -> None:
    for read in readers():
        with pytest.raises((ValueError, argparse.ArgumentTypeError, UsageError), match="a size such as 500M, 4GB or"):
            read(text)  # type: ignore[operator]


def test_numbers_and_what_is_shown() -> None:
    assert cache_bytes(2_000_000) == cache_bytes(2e6) == 2_000_000
    assert [shown_bytes(size) for size in (1_500_000, 10**9, 2_340_000_000)] == ["1.5 MB", "1.00 GB", "2.34 GB"]
