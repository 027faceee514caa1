"""What loops over weights are like where CPUs of one tier differ: measured once on each machine, and kept.

A single token's loops ask for weights near ahead, a little further in the row and into the first cache, as hardware
needs that keeps too few loads under way; or far ahead, what is read much later into the second cache, where hardware
fetches on along a row by itself. fetching.py says what that is.

Many tokens are multiplied by super-blocks in tiles of 6 tokens and 2 blocks, which load little for each product, as a
core needs that does two products of the widest vectors a cycle; or in tall tiles of 8 tokens and one block, whose sums
all fit the registers, which is better where a core does one.

None of it changes a bit of what is computed. What was measured lies beside the compiled kernels. FTLLM_NB_FETCH=near or
far chooses without measuring, and no tall tiles.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ftllm_nb.errors import UsageError
from ftllm_nb.kernels.cache import keep_file, kernel_directory

VARIABLE = "FTLLM_NB_FETCH"
WORDS = ("near", "far")
_FILE = "loops.json"


class LoopChoice(NamedTuple):
    """`rows`: whether what follows rows of one plane is fetched far ahead; `units`: what follows in super-blocks, whose
    planes are short. `tall`: whether super-blocks take tall tiles. `gains`: how many times as fast as the other way
    each of the three was, where it was measured."""

    rows: bool
    units: bool
    tall: bool = False
    gains: tuple[float, float, float] | None = None

    def code(self) -> str:
        """A part of compiled kernels' names."""
        return "".join("ny"[each] for each in self[:3])

    def explain(self) -> str:
        """What `ftllm-nb info` prints."""
        rows, units = (f"{WORDS[far]} ahead" for far in self[:2])
        tiles = "tall tiles" if self.tall else "wide tiles"
        if self.gains is None:
            why = f"chosen by {VARIABLE}" if os.environ.get(VARIABLE) else "not measured, as there was no memory for it"
            return f"{rows} in rows, {units} in super-blocks, {tiles}: {why}"
        measured = "{:.2f}, {:.2f} and {:.2f} × the speed of the other way".format(
            *(gain if chosen else 1 / gain if gain else 1 for chosen, gain in zip(self[:3], self.gains, strict=True))
        )
        return f"{rows} in rows, {units} in super-blocks, {tiles}: {measured}"


_tried: LoopChoice | None = None
"""What loops are compiled with that are measured now."""


def loop_choice() -> LoopChoice:
    """The choice that holds. Raises `UsageError` where the variable has another word."""
    return _tried or _chosen()


@contextlib.contextmanager
def trying(choice: LoopChoice) -> Iterator[None]:
    """Kernels that are compiled meanwhile have this choice."""
    global _tried
    before, _tried = _tried, choice
    try:
        yield
    finally:
        _tried = before


@functools.cache
def _chosen() -> LoopChoice:
    word = os.environ.get(VARIABLE)
    if word:
        if word not in WORDS:
            raise UsageError(f"{VARIABLE}={word}: it is near or far, or is not set, and the machine is measured.")
        return LoopChoice(word == "far", word == "far")
    directory = kernel_directory()
    return (directory and _read(directory / _FILE)) or _measured(directory)


def _measured(directory: Path | None) -> LoopChoice:
    from ftllm_nb.kernels.loop_trial import measured_choice

    choice = measured_choice()
    if directory is not None and choice.gains is not None:
        keep_file(directory / _FILE, json.dumps(choice._asdict()).encode())
    return choice


def _read(file: Path) -> LoopChoice | None:
    """What a file says; None where it is absent or damaged."""
    try:
        found = json.loads(file.read_bytes())
        rows, units, tall = map(float, found["gains"])
        return LoopChoice(bool(found["rows"]), bool(found["units"]), bool(found["tall"]), (rows, units, tall))
    except (OSError, ValueError, TypeError, KeyError):
        return None
