"""Whether a single token's loops ask for weights near or far ahead: measured once on each machine, and kept.

Near: a little ahead in the row, into the first cache. Hardware that keeps too few loads under way needs it. Far: what
is read much later, into the second cache. Hardware that fetches on along a row by itself needs no more. fetching.py
says what that is. Neither changes a bit of what is computed.

What was measured lies beside the compiled kernels. FTLLM_NB_FETCH=near or far chooses without measuring.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ftllm_nb.errors import UsageError
from ftllm_nb.kernels.cache import kernel_directory

VARIABLE = "FTLLM_NB_FETCH"
WORDS = ("near", "far")
_FILE = "fetching.json"


class FetchChoice(NamedTuple):
    """`rows`: whether what follows rows of one plane is fetched far ahead; `units`: what follows in super-blocks, whose
    planes are short. `gains`: how many times as fast as near that was, of both, where it was measured."""

    rows: bool
    units: bool
    gains: tuple[float, float] | None = None

    def code(self) -> str:
        """A part of compiled kernels' names."""
        return "".join("f" if far else "n" for far in (self.rows, self.units))

    def explain(self) -> str:
        """What `ftllm-nb info` prints."""
        if self.gains is None:
            return f"{WORDS[self.rows]} ahead: chosen by {VARIABLE}"
        parts = (
            f"{WORDS[far]} ahead in {kind} (far by near: {gain:.2f} × the speed)"
            for kind, far, gain in zip(("rows", "super-blocks"), self[:2], self.gains, strict=True)
        )
        return ", ".join(parts)


_tried: FetchChoice | None = None
"""What loops are compiled with that are measured now."""


def fetch_choice() -> FetchChoice:
    """The choice that holds. Raises `UsageError` where the variable has another word."""
    return _tried or _chosen()


@contextlib.contextmanager
def trying(choice: FetchChoice) -> Iterator[None]:
    """Kernels that are compiled meanwhile have this choice."""
    global _tried
    before, _tried = _tried, choice
    try:
        yield
    finally:
        _tried = before


@functools.cache
def _chosen() -> FetchChoice:
    word = os.environ.get(VARIABLE)
    if word is not None:
        if word not in WORDS:
            raise UsageError(f"{VARIABLE}={word}: it is near or far, or is not set, and the machine is measured.")
        return FetchChoice(word == "far", word == "far")
    directory = kernel_directory()
    return (directory and _read(directory / _FILE)) or _measured(directory)


def _measured(directory: Path | None) -> FetchChoice:
    from ftllm_nb.kernels.fetch_trial import measured_choice

    choice = measured_choice()
    if directory is not None:
        with contextlib.suppress(OSError), tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as file:
            json.dump(choice._asdict(), file)
            file.close()
            os.replace(file.name, directory / _FILE)
    return choice


def _read(file: Path) -> FetchChoice | None:
    """What a file says; None where it is absent or damaged."""
    try:
        found = json.loads(file.read_bytes())
        rows_gain, units_gain = map(float, found["gains"])
        return FetchChoice(bool(found["rows"]), bool(found["units"]), (rows_gain, units_gain))
    except (OSError, ValueError, TypeError, KeyError):
        return None
