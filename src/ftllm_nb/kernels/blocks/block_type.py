"""What kernels need to know of a block type: how 16 rows' blocks lie side by side, and code that reads them.

A block's bytes are planes: runs of words of one size. In a unit each plane of 16 rows lies together,
`[words of the plane][16 rows]`, plane after plane, so that a vector holds one word of each row. No bit is added.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from llvmlite import ir

from ftllm_nb.kernels.dot import V_BYTES, has_pairs, subtracted
from ftllm_nb.kernels.emit import LANES

QUAD = 4
"""Columns of a row in a lane's word."""
PART_COLUMNS = 32
"""Columns of a part of a unit: what its scratch is laid out in."""
PART_QUADS = PART_COLUMNS // QUAD
_MOST_VALUE = 127


class Plane(NamedTuple):
    """`words` of `size` bytes (1, 2 or 4) from byte `offset` of a block on; `transposes`: each 32 bits of them
    are moved, bit 4q + b to bit 8b + q, so that quads' bits lie alike."""

    offset: int
    size: int
    words: int
    transposes: bool = False


class Scales(NamedTuple):
    """The whole-number scales of a unit, and its minimums.

    `each`: of each group of columns 32 words, two for each row, which both are the scale. `pairs`, `minimums`: of each
    two groups 32 words, for each row the two scales, or minimums.
    """

    each: list[Any]
    pairs: list[Any]
    minimums: list[Any]


class BlockType(ABC):
    """A block type. A weight is factor · scale · (number − center) − second factor · minimum in super-blocks, of 256
    columns; factor · (number − center) + second factor in others, of 32.

    `float16_at`, `float32_at`: where a block has its floats. `chunk_parts`: parts of 32 columns after which the code
    for numbers begins anew. `group`: columns that share a scale, 16 or 32. `largest`: the largest number, where they
    are unsigned. `is_signed`: they are −127 … 127 instead, and the center is 0. `has_minimums`: whether there is a
    second factor.
    """

    name: str
    columns: int
    planes: tuple[Plane, ...]
    float16_at: tuple[int, ...] = ()
    float32_at: tuple[int, ...] = ()
    chunk_parts: int = 1
    group: int = 32
    largest: int = 0
    is_signed: bool = False
    center: int = 0
    has_minimums: bool = False

    @property
    def is_super(self) -> bool:
        """Whether whole-number scales are multiplied by the factor."""
        return self.columns == 256

    @property
    def block_bytes(self) -> int:
        """Of one row."""
        return sum(plane.size * plane.words for plane in self.planes)

    @property
    def unit_bytes(self) -> int:
        """Of 16 rows."""
        return LANES * self.block_bytes

    def at(self, plane: int) -> int:
        """Where a plane begins in a unit."""
        return LANES * sum(each.size * each.words for each in self.planes[:plane])

    @property
    def groups(self) -> int:
        """Scales of a row in a unit."""
        return self.columns // self.group

    @property
    def raised(self) -> int:
        """What has to be taken from the bytes of `tile_bytes`: signed numbers are made unsigned for tiers that want
        them so."""
        if not self.is_signed:
            return self.center
        return 0 if has_pairs() else 128 - subtracted(8)

    @property
    def middle(self) -> int:
        """What activations' records hold times the sum of the values (activation_rows.py), 0 for sums themselves."""
        if self.is_super:
            return 0
        return 1 if self.has_minimums else 128 if self.is_signed else self.center

    @property
    def pair_quads(self) -> int:
        """Quads of columns whose products fit words, two added in each."""
        return min(self.group // QUAD, (2**15 - 1) // (2 * _MOST_VALUE * self.largest)) if self.largest else 1

    @property
    def chunks(self) -> int:
        """Runs of `chunk_parts` parts in a unit."""
        return self.columns // (PART_COLUMNS * self.chunk_parts)

    @abstractmethod
    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        """Code for a quad's 64 bytes, lane by lane: `chunk`, an int64, of the unit, part of the chunk, quad of that."""

    @abstractmethod
    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        """Code for the factor of 16 rows, float32, and for the second one, or None."""

    def scales(self, b: ir.IRBuilder, unit: Any) -> Scales:
        """Code for the scales, in super-blocks."""
        raise NotImplementedError

    def tile_bytes(self, b: ir.IRBuilder, numbers: Any) -> Any:
        """Numbers as the tier's products want them."""
        if self.is_signed and not has_pairs():
            return b.xor(numbers, ir.Constant(V_BYTES, [-128] * V_BYTES.count))
        return numbers
