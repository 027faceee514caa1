"""The numbers that the weights of a type can be, and the choice of scales and levels where columns count differently.

What a calibrated method needs of a type is a `Grid`. It works for every type whose weights are a level times the scale
of their group, whatever the levels are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.errors import StepStopped
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.fit_scales import FIT, fit_kernel
from ftllm_nb.kernels.round_feedback import FEEDBACK, feedback_kernel
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS
from ftllm_nb.quantized_type import QuantizedType

Floats = NDArray[np.float32]

FEW_LEVELS = 16
FEW_APART = 0.03
"""Distance of tried scales where there are few levels, in parts of the scale that reaches the largest magnitude; with
more levels they are nearer, as the fourth root of their number."""
TRIED = 24


@dataclass(frozen=True)
class Grid:
    """`levels`: rising, what a weight can be in units of its group's scale; the number that is stored is a level's
    place. `group`: columns that share a scale, 0 for a whole row. `zero_points`: whether each group moves the levels,
    which are whole numbers then, by a whole number of its own.
    """

    levels: tuple[float, ...]
    group: int = 0
    zero_points: bool = False

    @classmethod
    def of(cls, type: QuantizedType) -> Grid:
        """That of a type of weights."""
        return cls(tuple(float(each) for each in range(-type.half, type.half)), type.group, type.zero_points)

    @cached_property
    def table(self) -> Floats:
        """What kernels read of levels that are not whole numbers in a row: levels, then middles; else empty."""
        levels = np.array(self.levels, np.float32)
        if np.array_equal(levels, levels[0] + np.arange(len(levels))):
            return np.empty(0, np.float32)
        return np.concatenate([levels, (levels[1:] + levels[:-1]) / 2])

    def width(self, columns: int) -> int:
        """Columns of a group, of rows of so many that are whole groups."""
        return self.group or columns

    def kernels(self) -> list[Kernel]:
        """Those that `Fitter` runs."""
        return [fit_kernel(self.zero_points), feedback_kernel()]


@dataclass(frozen=True)
class Scales:
    """Scales of a matrix, float16 [rows, groups]; zero points, uint8 [rows, groups], for grids that have them: the
    place of the level that stands for 0."""

    scales: NDArray[np.float16]
    zeros: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Lines:
    """What levels stand for: level · step + offset, float32 [rows, groups] each; `offsets` None: without."""

    steps: Floats
    offsets: Floats | None


@dataclass(frozen=True)
class Fitter:
    """Fits matrices, float32 [rows, columns], to a grid, on all threads. Columns are whole groups, filled up with
    zeros, and a multiple of 32. Methods raise `StepStopped` when stopped.
    """

    grid: Grid
    pool: ThreadPool

    def scales(self, weights: Floats, importance: Floats) -> Scales:
        """Those of least Σ importance · error², which is for each column how much its errors count, [columns].

        Raises `ValueError`, "holds …", where a number is not finite, or too large for float16 scales.
        """
        rows, columns = weights.shape
        groups = columns // self.grid.width(columns)
        scales = np.zeros((rows, groups), np.float16)
        zeros = np.zeros((rows, groups), np.uint8) if self.grid.zero_points else None
        fault = np.zeros(1, np.int64)
        apart = FEW_APART * (FEW_LEVELS / max(FEW_LEVELS, len(self.grid.levels))) ** 0.25
        self._run(
            fit_kernel(self.grid.zero_points),
            FIT.values(
                floats=_address(weights), weights=_address(importance), rows=rows, columns=columns, largest=_bits(
                    1 + 2 * apart), apart=_bits(apart), tried=TRIED, scales=_address(scales), zeros=_address(zeros),
                fault=_address(fault), **self._levels(columns),
            ),
        )  # fmt: skip
        if fault[0]:
            raise ValueError("holds numbers that are not finite, or too large for scales of float16")
        return Scales(scales, zeros)

    def codes(self, weights: Floats, scales: Scales) -> NDArray[np.uint8]:
        """The places of the nearest levels, [rows, columns]."""
        with np.errstate(divide="ignore"):
            inverse = np.where(scales.scales == 0, np.float32(0), 1 / scales.scales.astype(np.float32))
        quotients = weights.reshape(*inverse.shape, -1) * inverse[..., None]
        if len(self.grid.table):
            places = np.searchsorted(self.grid.table[len(self.grid.levels) :], quotients)
        else:
            zeros = -self.grid.levels[0] if scales.zeros is None else scales.zeros[..., None].astype(np.float32)
            places = np.clip(np.rint(quotients) + zeros, 0, len(self.grid.levels) - 1)
        return places.astype(np.uint8).reshape(weights.shape)

    def lines(self, scales: Scales) -> Lines:
        """What levels stand for with these scales."""
        steps = scales.scales.astype(np.float32)
        if scales.zeros is None:
            return Lines(steps, None)
        return Lines(steps, -steps * (scales.zeros.astype(np.float32) + np.float32(self.grid.levels[0])))

    def units(self, codes: NDArray[np.uint8], scales: Scales) -> Floats:
        """What is multiplied by the scales, [rows, columns]."""
        levels = np.array(self.grid.levels, np.float32)[codes]
        if scales.zeros is None:
            return levels
        zeros = scales.zeros.astype(np.float32) + np.float32(self.grid.levels[0])
        return (levels.reshape(*zeros.shape, -1) - zeros[..., None]).reshape(codes.shape)

    def values(self, codes: NDArray[np.uint8], scales: Scales) -> Floats:
        """The float32 weights that levels' places stand for."""
        lines = self.lines(scales)
        levels = np.array(self.grid.levels, np.float32)[codes].reshape(*lines.steps.shape, -1)
        values = levels * lines.steps[..., None]
        if lines.offsets is not None:
            values += lines.offsets[..., None]
        return values.reshape(codes.shape)

    def feed_back(
        self,
        floats: Floats,
        first: int,
        factor: Floats,
        order: NDArray[np.int32],
        lines: Lines,
        codes: NDArray[np.uint8],
    ) -> Floats:
        """Round some columns of `floats`, whose columns are in this order of the matrix's, from `first` on, as
        kernels/round_feedback.py does it; the errors, [rows, size].

        `factor`: U, [size, size]. `lines`: what levels stand for. `codes`, in the order of the matrix, get those of the
        columns, `floats` what they became.
        """
        rows, columns = floats.shape
        errors = np.empty((rows, len(factor)), np.float32)
        self._run(
            feedback_kernel(),
            FEEDBACK.values(
                floats=_address(floats), stride=floats.strides[0], rows=rows, first=first, size=len(factor),
                order=_address(order), factor=_address(factor), errors=_address(errors), columns=columns,
                groups=lines.steps.shape[1], scales=_address(lines.steps), offsets=_address(lines.offsets),
                codes=_address(codes), **self._levels(columns),
            ),
        )  # fmt: skip
        return errors

    def _levels(self, columns: int) -> dict[str, int]:
        levels = self.grid.levels
        return {
            "group": self.grid.width(columns), "low": _bits(levels[0]), "high": _bits(levels[-1]),
            "table": _address(self.grid.table) if len(self.grid.table) else 0, "count": len(levels),
        }  # fmt: skip

    def _run(self, kernel: Kernel, arguments: tuple[int | float, ...]) -> None:
        row = np.zeros((1, ROW_FIELDS), np.int64)
        row[0, : 1 + len(arguments)] = (kernel.address, *arguments)
        if not self.pool.run(row, np.zeros(STEP_FIELDS, np.int64)):
            raise StepStopped


def _address(array: NDArray[np.generic] | None) -> int:
    return 0 if array is None else int(array.ctypes.data)


def _bits(value: float) -> int:
    return int(struct.unpack("<i", struct.pack("<f", value))[0])
