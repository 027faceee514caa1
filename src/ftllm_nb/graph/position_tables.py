"""Tables of numbers by position, made as far as they are needed: most contexts stay far below what a model allows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_ROWS_AT_ONCE = 4096


class PositionTables:
    """`arrays`: `count` tables, float32 [positions, columns] each. Rows that nobody needed take no memory.

    `make` gives the rows of a run of positions, an array for each table. Raises MemoryError.
    """

    def __init__(
        self, positions: int, columns: int, count: int, make: Callable[[slice], tuple[Floats, ...]]
    ) -> None:
        self._make = make
        self._filled = 0
        try:
            self.arrays = tuple(np.empty((positions, columns), np.float32) for _ in range(count))
        except ValueError as error:  # more than any address can name
            raise MemoryError(str(error)) from error

    def fill(self, positions: int) -> None:
        """Make the rows below `positions` right, if they are not yet."""
        while self._filled < positions:
            rows = slice(self._filled, min(self._filled + _ROWS_AT_ONCE, len(self.arrays[0])))
            for array, made in zip(self.arrays, self._make(rows), strict=True):
                array[rows] = made
            self._filled = rows.stop
