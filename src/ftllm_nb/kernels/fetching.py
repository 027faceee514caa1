"""Which line of packed weights a single token's loop asks for while it multiplies another: memory must never wait.

The loop walks some rows (blocks of 16 of the matrix) in step, then as many that follow. Hardware fetches on along a row
by itself. Where it does that badly, the loop asks for what lies near ahead in the row. Where it does it well, asking
for that only takes places from it, and the loop asks for what is far: hardware cannot foresee where the next rows
begin, so that of short rows all of the next ones is asked for, of long ones the beginnings, while the ends are
multiplied. Super-blocks it follows badly, and more of them is asked for. fetch_choice.py says which it is here.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.emit import I64, NEAREST_CACHE, PREFETCH_BYTES, SECOND_CACHE, prefetch
from ftllm_nb.kernels.fetch_choice import fetch_choice

_NEAR_BYTES = 1280
"""How far ahead in each of four rows: in short ones a longer distance was slower."""
_SHORT_ROW_BYTES = 32768
"""Four such rows are a quarter of the smallest second cache of CPUs that fetch far."""
_BEGINNING_BYTES = 1024
_NEAR_BYTES_OF_UNITS = 5 * PREFETCH_BYTES
"""How far ahead block types are fetched, of all rows together."""
_FAR_BYTES_OF_UNITS = 16384
"""How far ahead super-blocks are fetched in each row, into the second cache; where rows are shorter, in the next."""


def place_to_fetch(builder: ir.IRBuilder, offset: Any, size: Any, following: Any) -> Any:
    """From a row's beginning, where the line is that is to be fetched when the one at `offset` is multiplied.

    `size`: bytes of a row; `following`: from a row to the one that is read next. Int64, as is the result.
    """
    far = fetch_choice().rows
    if far:
        is_short = builder.icmp_signed("<=", size, _i64(_SHORT_ROW_BYTES))
        distance = builder.select(is_short, size, _i64(_BEGINNING_BYTES))
    else:
        distance = _i64(_NEAR_BYTES)
    place = builder.add(offset, distance)
    # Asking for what is being read costs little: there is no branch.
    return _in_row_or_next(builder, place, offset if far else place, size, following)


def fetch_weights(builder: ir.IRBuilder, address: Any) -> None:
    """Ask for a line that `place_to_fetch` has found: into the second cache if it is read much later."""
    prefetch(builder, address, cache=SECOND_CACHE if fetch_choice().rows else NEAREST_CACHE)


def unit_to_fetch(
    builder: ir.IRBuilder, offset: Any, size: Any, following: Any, rows: int, is_super: bool
) -> Any:
    """The same of rows of block types, of which `rows` are read in step."""
    if fetch_choice().rows and not is_super:
        return place_to_fetch(builder, offset, size, following)
    distance = _i64(_NEAR_BYTES_OF_UNITS // rows)
    if fetches_units_far(is_super):
        is_short = builder.icmp_signed("<=", size, _i64(_FAR_BYTES_OF_UNITS))
        distance = builder.select(is_short, size, _i64(_FAR_BYTES_OF_UNITS))
    place = builder.add(offset, distance)
    return _in_row_or_next(builder, place, place, size, following)


def fetch_unit(builder: ir.IRBuilder, address: Any, is_super: bool) -> None:
    """Ask for a line that `unit_to_fetch` has found."""
    prefetch(builder, address, cache=SECOND_CACHE if fetches_units_far(is_super) else NEAREST_CACHE)


def fetches_units_far(is_super: bool) -> bool:
    """Whether rows of block types are fetched far ahead."""
    return fetch_choice().units if is_super else fetch_choice().rows


def _in_row_or_next(builder: ir.IRBuilder, place: Any, inside: Any, size: Any, following: Any) -> Any:
    """`inside`, unless the place is beyond the row: then the same place in the row that is read next."""
    is_inside = builder.icmp_signed("<", place, size)
    return builder.select(is_inside, inside, builder.add(builder.sub(place, size), following))


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)
