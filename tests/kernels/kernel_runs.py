"""One kernel, or a few in turn, run by two threads on arguments that a test lays out; and memory to run them on."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS, STEP_TOKENS


@functools.cache
def pool() -> ThreadPool:
    """Two threads; they are not started by an import, since what they run is to be compiled first."""
    return ThreadPool(2, 1 << 20)


UNIT = 2.0**-24
"""Half the distance from 1 to the next float32: the largest relative error of one operation."""
MARK = np.float32(-123456)
"""What memory holds that no kernel may write."""

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]


def run(kernel: Kernel, tokens: int, *arguments: int | float, fields: Mapping[int, int] | None = None) -> None:
    """Run one kernel on the arguments of its row; `fields`: those of the step's header beside the tokens."""
    run_all([kernel], tokens, *arguments, fields=fields)


def run_all(
    kernels: list[Kernel], tokens: int, *arguments: int | float, fields: Mapping[int, int] | None = None
) -> None:
    """Run kernels one after the other, on the same arguments."""
    bits = [int(np.float32(value).view(np.int32)) if isinstance(value, float) else value for value in arguments]
    rows = np.zeros((len(kernels), ROW_FIELDS), np.int64)
    for row, kernel in zip(rows, kernels, strict=True):
        row[: 1 + len(bits)] = (kernel.address, *bits)
    step = np.zeros(STEP_FIELDS, np.int64)
    step[STEP_TOKENS] = tokens
    for field, value in (fields or {}).items():
        step[field] = value
    assert pool().run(rows, step)


class Rows:
    """float32 [tokens, features], each row followed by `gap` floats that nobody may write: `values` is a view."""

    def __init__(self, values: Floats, gap: int = 0) -> None:
        tokens, features = values.shape
        self._memory = np.full((tokens + 1, features + gap), MARK)
        self.values = self._memory[:tokens, :features]
        self.values[:] = values
        self.address = int(self._memory.ctypes.data)
        self.stride = int(self._memory.strides[0])

    @classmethod
    def unwritten(cls, tokens: int, features: int, gap: int = 0) -> Rows:
        """Rows that a kernel is to fill."""
        return cls(np.full((tokens, features), np.nan, np.float32), gap)

    def assert_marks(self) -> None:
        """Nothing was written beside the rows."""
        tokens, features = self.values.shape
        assert (self._memory[:tokens, features:] == MARK).all(), "between the rows"
        assert (self._memory[tokens] == MARK).all(), "after the rows"
