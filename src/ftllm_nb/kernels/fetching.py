"""Which lines of packed weights a single token's loop asks for while it multiplies others: memory must never wait.

The loop walks some rows (blocks of 16 of the matrix) in step, then as many that follow. Hardware fetches on along a row
by itself. Where it does that badly, the loop asks for what lies near ahead in the row.

Where it does it well, asking for that only takes places from it, and the loop asks for what is far. Four long rows in
step are followed by hardware, and the loop asks for the beginnings of the next four. Of short ones it would miss too
much; fewer are walked in step, so that memory is read almost in line, and the loop asks for what lies some KB ahead,
into the second cache. It asks more than once: such a core drops requests when it has too many. So it does with
super-blocks, whose short planes hardware follows badly, one row at a time. loop_choice.py says which it is here.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.emit import I64, NEAREST_CACHE, PREFETCH_BYTES, SECOND_CACHE, prefetch
from ftllm_nb.kernels.loop_choice import loop_choice

SHORT_ROW_BYTES = 32768
"""Of the longest row of weights of 4 and 8 bits that is short."""
SHORT_ROWS_IN_STEP = 2
"""How many short rows are walked in step where weights are fetched far ahead."""
_NEAR_BYTES = 1280
"""How far ahead in each of four rows: in short ones a longer distance was slower."""
_BEGINNING_BYTES = 1024
_FAR_BYTES = (6144, 4096, 2048)
"""How far ahead in each of two rows."""
_NEAR_BYTES_OF_UNITS = 5 * PREFETCH_BYTES
"""How far ahead block types are fetched, of all rows together."""
_FAR_BYTES_OF_UNITS = (12288, 8192, 4096)
"""How far ahead they are in a row."""


def places_to_fetch(builder: ir.IRBuilder, offset: Any, size: Any, following: Any, rows: int) -> list[Any]:
    """From a row's beginning, where the lines are that are to be fetched when the one at `offset` is multiplied.

    `size`: bytes of a row; `following`: from a row to the one that is read next; `rows`: how many are walked in step.
    Int64, as are the results.
    """
    if not loop_choice().rows:
        place = builder.add(offset, _i64(_NEAR_BYTES))
        return [_in_row_or_next(builder, place, place, size, following)]
    if rows <= SHORT_ROWS_IN_STEP:
        places = [builder.add(offset, _i64(distance)) for distance in _FAR_BYTES]
        return [_in_row_or_next(builder, place, place, size, following) for place in places]
    is_short = builder.icmp_signed("<=", size, _i64(SHORT_ROW_BYTES))
    place = builder.add(offset, builder.select(is_short, size, _i64(_BEGINNING_BYTES)))
    # Asking for what is being read costs little: there is no branch.
    return [_in_row_or_next(builder, place, offset, size, following)]


def fetch_weights(builder: ir.IRBuilder, address: Any) -> None:
    """Ask for a line that `places_to_fetch` has found: into the second cache if it is read much later."""
    prefetch(builder, address, cache=SECOND_CACHE if loop_choice().rows else NEAREST_CACHE)


def units_to_fetch(
    builder: ir.IRBuilder, offset: Any, size: Any, following: Any, rows: int, is_super: bool
) -> list[Any]:
    """The same of rows of block types."""
    distances = _FAR_BYTES_OF_UNITS if fetches_units_far(is_super) else (_NEAR_BYTES_OF_UNITS // rows,)
    places = [builder.add(offset, _i64(distance)) for distance in distances]
    return [_in_row_or_next(builder, place, place, size, following) for place in places]


def fetch_unit(builder: ir.IRBuilder, address: Any, is_super: bool) -> None:
    """Ask for a line that `units_to_fetch` has found."""
    prefetch(builder, address, cache=SECOND_CACHE if fetches_units_far(is_super) else NEAREST_CACHE)


def fetches_units_far(is_super: bool) -> bool:
    """Whether rows of block types are fetched far ahead, and so are walked one at a time."""
    return loop_choice().units if is_super else loop_choice().rows


def _in_row_or_next(builder: ir.IRBuilder, place: Any, inside: Any, size: Any, following: Any) -> Any:
    """`inside`, unless the place is beyond the row: then the same place in the row that is read next."""
    is_inside = builder.icmp_signed("<", place, size)
    return builder.select(is_inside, inside, builder.add(builder.sub(place, size), following))


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)
