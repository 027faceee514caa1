"""Number types for argparse that refuse what lies outside their bounds, in one sentence."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from ftllm_nb.byte_sizes import parse_bytes


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """An argparse type: whole numbers from `low` to `high` (no upper bound where None)."""
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"a whole number {bounds} is expected, not {text!r}")
        return number

    return parse


def real_number(low: float, high: float | None = None, *, above_low: bool = False) -> Callable[[str], float]:
    """An argparse type: finite numbers from `low`, or only above it, to `high` (None: no upper bound)."""
    bounds = f"above {low:g}" if above_low else f"of at least {low:g}"
    if high is not None:
        bounds += f" and at most {high:g}"

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        too_low = number <= low if above_low else number < low
        if not math.isfinite(number) or too_low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"a number {bounds} is expected, not {text!r}")
        return number

    return parse


def byte_size(text: str) -> int:
    """An argparse type: `parse_bytes`."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
