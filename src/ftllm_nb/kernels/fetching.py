"""Which line of packed weights a single token's loop asks for while it multiplies another: memory must never wait.

The loop walks some rows (blocks of 16 of the matrix) in step, then as many that follow. Hardware fetches on along a row
by itself. Where it does that badly, the loop asks for what lies ahead in the row. Where it does it well (Zen 3), asking
for that only takes places from it, and what it cannot foresee is where the next rows begin: of short rows all of the
next ones is asked for, of long ones the beginnings, while the ends are multiplied.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.emit import I64, NEAREST_CACHE, SECOND_CACHE, prefetch
from ftllm_nb.kernels.tiers import current_tier

_AHEAD_BYTES = 1280
"""How far ahead in each of four rows: in short ones a longer distance was slower."""
_SHORT_ROW_BYTES = 32768
"""Four such rows are a quarter of the smallest second cache that such a tier has."""
_BEGINNING_BYTES = 1024


def place_to_fetch(builder: ir.IRBuilder, offset: Any, size: Any, following: Any) -> Any:
    """From a row's beginning, where the line is that is to be fetched when the one at `offset` is multiplied.

    `size`: bytes of a row; `following`: from a row to the one that is read next. Int64, as is the result.
    """
    follows = current_tier().follows_rows
    if follows:
        is_short = builder.icmp_signed("<=", size, _i64(_SHORT_ROW_BYTES))
        distance = builder.select(is_short, size, _i64(_BEGINNING_BYTES))
    else:
        distance = _i64(_AHEAD_BYTES)
    place = builder.add(offset, distance)
    # Asking for what is being read costs little: there is no branch.
    inside = offset if follows else place
    return builder.select(
        builder.icmp_signed("<", place, size), inside, builder.add(builder.sub(place, size), following)
    )


def fetch_weights(builder: ir.IRBuilder, address: Any) -> None:
    """Ask for a line that `place_to_fetch` has found: into the second cache if it is read much later."""
    prefetch(builder, address, cache=SECOND_CACHE if current_tier().follows_rows else NEAREST_CACHE)


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)
